"""The evaluation as one page that a person likes to look at: plots first, every number below. Needs no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from twin_engine.lab import report_plots as plots
from twin_engine.lab.bars import PAPER, Bar
from twin_engine.lab.card_findings import ablation_of
from twin_engine.lab.outcome import NO_RIVALS, Outcome, methods_of
from twin_engine.lab.scorecard import MODES, OURS, UNLEARNT, Row

_STYLE = """
:root{color-scheme:dark}*{box-sizing:border-box}
body{margin:0;background:#060d15;color:#dce9f5;font:15px/1.55 Inter,'Segoe UI',system-ui,sans-serif}
main{max-width:1280px;margin:0 auto;padding:36px 28px 80px}
h1{font-size:30px;font-weight:650;margin:0 0 4px;letter-spacing:-.01em}h1 b{color:#35e0ff;font-weight:650}
h2{font-size:20px;font-weight:600;margin:52px 0 4px}h3{font-size:15px;color:#9fb6ca;font-weight:600;margin:22px 0 0}
p{max-width:78ch;color:#9fb6ca;margin:6px 0 12px}code{color:#9fb6ca;font-size:12px;word-break:break-all}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(228px,1fr));gap:12px;margin:22px 0}
.card{background:#0b1622;border:1px solid #16283a;border-radius:12px;padding:14px 16px}
.card b{display:block;font-size:26px;font-weight:600;font-variant-numeric:tabular-nums}
.card span{color:#7e97ad;font-size:12.5px;display:block}.ok b{color:#6ee7a0}.short b{color:#ffb454}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:12.5px;font-variant-numeric:tabular-nums;width:100%}
th{color:#7e97ad;font-weight:500;text-align:right;padding:6px 9px;border-bottom:1px solid #24384c;white-space:nowrap}
td{text-align:right;padding:4px 9px;border-bottom:1px solid #101f2d;white-space:nowrap}
td:first-child,th:first-child{text-align:left}.left td,.left th{text-align:left}
td.own{color:#35e0ff}td.best{font-weight:650}td.ok{color:#6ee7a0}td.short{color:#ffb454}
details{margin:10px 0}summary{cursor:pointer;color:#35e0ff}
"""


def write_report(told: Outcome, path: Path) -> None:
    """One HTML file with everything in it."""
    parts = "\n".join(_page(told))
    path.write_text(
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Everbeat: evaluation</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style>"
        f"<script>{get_plotlyjs()}</script></head><body><main>{parts}</main></body></html>\n"
    )


def _page(told: Outcome) -> Iterator[str]:
    yield from _head(told)
    for mode, said in (
        ("causal", "Live: nothing after the gap's first moment is known to any method."),
        ("retrospective", "Once the gap has closed: every method sees both sides."),
    ):
        yield f"<h2>Error over gap length: {mode}</h2><p>{said} Mean absolute error in the person's own standard "
        yield "deviation; the band is the 95 % interval over people. Methods that run away leave the picture.</p>"
        yield _figure(plots.error_over_gap(told, mode))
        yield "<h3>Ours over the best cheap rival of each row (below 1 is better)</h3>"
        yield _figure(plots.ratio_map(told, mode))
    yield "<h2>What it looks like</h2><p>Frozen places, not chosen ones: the first seed's middle gap of a person.</p>"
    yield _figure(plots.examples(told))
    yield "<h2>Is it as sure as it should be?</h2><p>Of all values shown with 0.8, 80 % must lie within the signal's "
    yield "tolerance. The larger a point, the more values were shown with that confidence.</p>"
    yield _figure(plots.reliability_diagram(told))
    yield "<h2>For every person, not on average</h2><p>How often the 90 % interval held the truth, live, over random "
    yield "gaps of every length; lines are 95 % block-bootstrap intervals over stretches of time.</p>"
    yield _figure(plots.coverage_per_person(told, "causal"))
    yield "<h2>Who made what was shown</h2><p>Mean weight of each expert in the values shown live.</p>"
    yield _figure(plots.share_by_method(told))
    yield from _tables(told)


def _head(told: Outcome) -> Iterator[str]:
    evaluation = told.evaluation
    yield "<h1><b>Everbeat</b> on people it never saw</h1>"
    rows = sum(r.gaps for r in told.rows if (r.method, r.mode, r.drop) == (OURS, "causal", "single"))
    yield f"<p>{len(evaluation.people)} people and rooms, {rows:,} pretended gaps, {len(evaluation.seeds)} seeds, "
    yield f"{evaluation.seconds / 60:.0f} minutes. {len(evaluation.refused)} people were refused because the model "
    yield f"knows them.<br><code>data {evaluation.data_sha256}<br>masks {evaluation.masks_sha256}</code></p>"
    if not evaluation.rivals:
        yield f"<p>{escape(NO_RIVALS)}</p>"
    yield "<div class='cards'>"
    for bar in [b for b in told.bars if b.reached is not None and not b.name.startswith("MAE of")][:12]:
        kind = "ok" if bar.met else "short"
        yield f"<div class='card {kind}'><b>{bar.reached:.3f}</b><span>{escape(bar.name)}</span>"
        yield f"<span>wanted {escape(bar.bound)}</span></div>"
    yield "</div>"


def _tables(told: Outcome) -> Iterator[str]:
    yield "<h2>Numbers to reach</h2>"
    yield _table(("", "measured", "wanted", "", ""), [_bar(b) for b in told.bars], "left")
    yield f"<p>{escape(PAPER)}</p>"
    for mode in MODES:
        yield f"<h2>Every row: {mode}</h2><p>MAE / CRPS in the person's standard deviation.</p>"
        for mask in ("random", "realistic"):
            yield f"<details{' open' if mask == 'random' else ''}><summary>{mask} places</summary>"
            yield (
                _rows([r for r in told.rows if (r.mode, r.mask, r.drop) == (mode, mask, "single")], mode) + "</details>"
            )
    yield "<p>With every channel of the device lost at once the numbers are the same: inside the gap no method, ours "
    yield "included, looks at another channel.</p>"
    lively = [f.liveliness for f in told.evaluation.found if f.liveliness is not None]
    if lively:
        yield "<h2>Do sampled paths look alive?</h2><p>A random forest tries to tell paths from truth (AUC, 0.5 is "
        yield "perfect).</p>"
        yield _dicts([{k: v for k, v in vars_of(one).items() if k != "features"} | one.features for one in lively])
    if told.evaluation.anomalies:
        yield "<h2>Anomaly scores for the judge</h2><p>VUS-PR and the share of events found at fixed false alarms an "
        yield "hour, beside random scores.</p>" + _dicts(told.evaluation.anomalies)
    if parts := ablation_of(told.evaluation.metadata):
        yield "<h2>Ablation</h2><p>Validation people, in units of ridge's error.</p>" + _nested(parts)
    refused = [(escape(person), escape(why)) for person, why in told.evaluation.refused.items()]
    table = _table(("person", "why"), refused, "left")
    yield f"<details><summary>{len(refused)} people refused</summary>{table}</details>"


def vars_of(value: Any) -> dict[str, Any]:
    """A dataclass with slots as a dictionary."""
    return {name: getattr(value, name) for name in value.__slots__}


def _bar(bar: Bar) -> tuple[str, ...]:
    reached = "–" if bar.reached is None else f"{bar.reached:.3f}"
    mark = "not measured" if bar.met is None else "reached" if bar.met else "short"
    kind = "" if bar.met is None else " class='ok'" if bar.met else " class='short'"
    return (escape(bar.name), reached, escape(bar.bound), f"{kind}>{mark}", escape(bar.note))


def _rows(rows: Sequence[Row], mode: str) -> str:
    names = methods_of(rows, mode)
    head = ("signal", "gap", "people", "gaps", *names, "50 / 80 / 90 / 95 % held", "width")
    lines = []
    for signal, gap_s in dict.fromkeys((r.signal, r.gap_s) for r in rows):
        by = {r.method: r for r in rows if (r.signal, r.gap_s) == (signal, gap_s)}
        own, best = by[OURS], min((r for r in by.values() if r.method != UNLEARNT), key=lambda r: r.mae)
        cells = [_cell(by.get(name), best) for name in names]
        held = " / ".join(
            "–" if c is None else f"{c:.2f}" for c in (own.cover50, own.cover80, own.cover90, own.cover95)
        )
        width = "–" if own.width90 is None else f"{own.width90:.2f}"
        lines.append((escape(signal), f"{gap_s:g} s", str(own.people), str(own.gaps), *cells, held, width))
    return _table(head, lines)


def _cell(row: Row | None, best: Row) -> str:
    if row is None:
        return "–"
    kind = " ".join(k for k, on in (("own", row.method == OURS), ("best", row is best)) if on)
    return f" class='{kind}' title='95 %: {row.mae_ci[0]:.3f} to {row.mae_ci[1]:.3f}'>{row.mae:.3f} / {row.crps:.3f}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], kind: str = "") -> str:
    """Cells are HTML; one that begins with " class=" or ">" carries its own attributes."""
    top = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "".join(
        "<tr>" + "".join(f"<td{c}</td>" if c.startswith((" class=", ">")) else f"<td>{c}</td>" for c in line) + "</tr>"
        for line in lines
    )
    return f"<div class='wide'><table class='{kind}'><tr>{top}</tr>{body}</table></div>"


def _dicts(rows: Sequence[Mapping[str, Any]]) -> str:
    head = list(dict.fromkeys(name for row in rows for name in row))
    return _table(head, [[escape(_short(row.get(name))) for name in head] for row in rows])


def _nested(value: Any) -> str:
    """A table of whatever nesting: a line a leaf."""
    return _table(
        ("what", "value"), [(escape(name), escape(_short(leaf))) for name, leaf in _leaves(value, "")], "left"
    )


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, f"{name} · {key}" if name else str(key))
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for i, part in enumerate(value):
            yield from _leaves(part, f"{name} {i}")
    else:
        yield name, value


def _short(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _figure(figure: go.Figure | None) -> str:
    if figure is None:
        return "<p>Nothing to draw.</p>"
    settings = {"displayModeBar": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config=settings))
