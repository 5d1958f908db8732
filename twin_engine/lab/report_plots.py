"""The figures of the evaluation report. Each is a function of the outcome and gives a Plotly figure, or None."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from device.signals import SIGNALS
from twin_engine.lab.judge import Example
from twin_engine.lab.outcome import Outcome, methods_of
from twin_engine.lab.rivals import RIVALS
from twin_engine.lab.scorecard import OURS, Row

INK, FAINT, GRID, PANEL = "#dce9f5", "#7e97ad", "#16283a", "#0b1622"
CYAN, AMBER, GREEN, RED = "#35e0ff", "#ffb454", "#6ee7a0", "#ff6b7a"
_PALETTE = (
    "#8f9fb3",
    "#ffb454",
    "#b48ef0",
    "#6ee7a0",
    "#f58fb0",
    "#5b8def",
    "#d8c95a",
    "#e07a5f",
    "#4fb6a8",
    "#a3b86c",
)
_RIVAL_INK = {"saits": "#ffffff", "brits": "#c7c7c7"}
_COLUMNS = 3
_PLOT = 260  # height of a panel in pixels


def error_over_gap(told: Outcome, mode: str) -> go.Figure | None:
    """MAE (SD) over gap length: a panel a signal, a line a method; ours with its interval."""
    rows = [r for r in told.rows if (r.mode, r.mask, r.drop) == (mode, "random", "single")]
    signals = list(dict.fromkeys(r.signal for r in rows))
    if not signals:
        return None
    figure = _panels([_title(s) for s in signals])
    ink = _inks(methods_of(rows, mode))
    for i, signal in enumerate(signals):
        at = {"row": i // _COLUMNS + 1, "col": i % _COLUMNS + 1}
        own = [r for r in rows if r.signal == signal]
        for name in reversed(methods_of(rows, mode)):
            line = [r for r in own if r.method == name]
            figure.add_trace(_line(line, name, ink[name], first=i == 0), **at)
        figure.add_trace(_ribbon([r for r in own if r.method == OURS]), **at)
        figure.update_yaxes(range=[0, _sensible(own)], **at)
    figure.update_xaxes(type="log", tickvals=[1, 5, 10, 30, 60, 300], ticktext=["1 s", "5", "10", "30", "60", "300 s"])
    return _dressed(figure, _PLOT * figure_rows(signals) + 90, legend=True)


def ratio_map(told: Outcome, mode: str) -> go.Figure | None:
    """Ours over the best cheap rival: a cell a signal and gap length. Below 1 is better."""
    chosen = [r for r in told.ratios if (r.mode, r.mask, r.metric) == (mode, "random", "mae")]
    if not chosen:
        return None
    signals = list(dict.fromkeys(r.signal for r in chosen))[::-1]
    lengths = sorted({r.gap_s for r in chosen})
    by = {(r.signal, r.gap_s): r for r in chosen}
    cells = [[by.get((s, g)) for g in lengths] for s in signals]
    z = [[None if c is None else float(np.log2(c.ratio)) for c in line] for line in cells]
    text = [["" if c is None else f"{c.ratio:.2f} {c.rival}" for c in line]
            for line in cells]  # fmt: skip
    scale = [[0, "#0f8fb0"], [0.5, "#0f1d2b"], [1, "#b3394a"]]
    heat = go.Heatmap(
        z=z, x=[f"{g:g} s" for g in lengths], y=[_title(s) for s in signals], text=text,
        texttemplate="%{text}", textfont={"size": 13},
        colorscale=scale, zmin=-1, zmax=1, xgap=3, ygap=3, showscale=False, hoverinfo="skip",
    )  # fmt: skip
    return _dressed(go.Figure(heat), 38 * len(signals) + 70)


def coverage_per_person(told: Outcome, mode: str) -> go.Figure | None:
    """How often the 90 % interval held the truth for each person, with its block-bootstrap interval."""
    people = [c for c in told.coverage if c.mode == mode]
    if not people:
        return None
    people = sorted(people, key=lambda c: (c.signal, c.person), reverse=True)
    figure = go.Figure()
    figure.add_vrect(x0=0.88, x1=0.92, fillcolor=CYAN, opacity=0.12, line_width=0)
    figure.add_vline(x=0.90, line_color=CYAN, line_width=1)
    kinds = (
        ("holds 0.90", GREEN, "circle", [c for c in people if c.measurable and c.holds]),
        ("does not", RED, "diamond", [c for c in people if c.measurable and not c.holds]),
        ("not measurable (< 100 gaps)", FAINT, "circle-open", [c for c in people if not c.measurable]),
    )
    labels = [f"{c.person} · {_title(c.signal)}" for c in people]
    for name, ink, symbol, chosen in kinds:
        figure.add_trace(
            go.Scatter(
                x=[c.cover90 for c in chosen], y=[f"{c.person} · {_title(c.signal)}" for c in chosen], name=name,
                mode="markers", marker={"color": ink, "symbol": symbol, "size": 8},
                error_x={"type": "data", "symmetric": False, "color": ink, "thickness": 1.2, "width": 0,
                         "array": [c.interval[1] - c.cover90 for c in chosen],
                         "arrayminus": [c.cover90 - c.interval[0] for c in chosen]},
                customdata=[c.gaps for c in chosen], hovertemplate="%{y}: %{x:.3f} (%{customdata} gaps)<extra></extra>",
            )
        )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=labels, tickfont_size=10, automargin=True)
    figure.update_xaxes(range=[0.5, 1.005], tickformat=".0%")
    return _dressed(figure, 16 * len(people) + 130, legend=True)


def reliability_diagram(told: Outcome) -> go.Figure:
    """Confidence against hit rate; the area of a point is how often that confidence was shown."""
    figure = go.Figure()
    figure.add_trace(go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": FAINT, "dash": "dot"}, name="perfect"))
    for mode, ink in (("causal", CYAN), ("retrospective", AMBER)):
        bins = told.reliability[mode]["bins"]
        most = max((b["n"] for b in bins), default=1)
        figure.add_trace(
            go.Scatter(
                x=[b["confidence"] for b in bins], y=[b["hit_rate"] for b in bins], mode="lines+markers",
                name=f"{mode} (ECE {told.reliability[mode]['ece']:.3f})", line={"color": ink, "width": 2},
                marker={"size": [6 + 26 * (b["n"] / most) ** 0.5 for b in bins], "color": ink, "opacity": 0.75},
                customdata=[b["n"] for b in bins],
                hovertemplate="said %{x:.2f}, right %{y:.2f} (%{customdata:,} values)<extra></extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(range=[0, 1.02], title="confidence shown")
    figure.update_yaxes(range=[0, 1.02], title="share within tolerance")
    return _dressed(figure, 460, legend=True)


def examples(told: Outcome) -> go.Figure | None:
    """Gaps with what was shown live, its ribbon, the revision and the truth: a row a signal."""
    chosen = [(f.signal, _some(f.examples)) for f in told.evaluation.found if f.examples]
    if not chosen:
        return None
    titles = [f"{_title(s)} · {e.person} · {e.gap_s:g} s" if e else "" for s, some in chosen
              for e in [*some, *[None] * (_COLUMNS - len(some))]]  # fmt: skip
    figure = _panels(titles)
    for row, (_, some) in enumerate(chosen, start=1):
        for col, example in enumerate(some, start=1):
            for trace in _example(example, first=row == col == 1):
                figure.add_trace(trace, row=row, col=col)
    return _dressed(figure, _PLOT * len(chosen) + 90, legend=True)


def share_by_method(told: Outcome) -> go.Figure | None:
    """Whose forecast was shown: mean weight of each expert."""
    if not told.shares:
        return None
    signals = list(told.shares)[::-1]
    names = sorted({n for by in told.shares.values() for n in by}, key=lambda n: (n != "lstm-vae", n))
    ink = dict(zip(names, (CYAN, *_PALETTE, *_PALETTE), strict=False))
    figure = go.Figure(
        [
            go.Bar(
                y=[_title(s) for s in signals], x=[told.shares[s].get(name, 0.0) for s in signals], name=name,
                orientation="h", marker_color=ink[name], hovertemplate=name + " %{x:.2f}<extra></extra>",
            )
            for name in names
        ]
    )  # fmt: skip
    figure.update_layout(barmode="stack", bargap=0.35)
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    return _dressed(figure, 34 * len(signals) + 120, legend=True)


# ------------------------------------------------------------------------------------------------- small parts


def figure_rows(panels: Sequence[object]) -> int:
    """Rows of panels."""
    return -(-len(panels) // _COLUMNS)


def _panels(titles: Sequence[str]) -> go.Figure:
    rows = figure_rows(titles)
    gap = min(0.12, 70 / (_PLOT * rows))
    return make_subplots(rows, _COLUMNS, subplot_titles=titles, vertical_spacing=gap, horizontal_spacing=0.055)


def _line(rows: Sequence[Row], name: str, ink: str, first: bool) -> go.Scatter:
    ours, rival = name == OURS, name in RIVALS
    style = {"color": ink, "width": 3.5 if ours else 1.4, "dash": "solid" if ours else "dash" if rival else "solid"}
    return go.Scatter(
        x=[r.gap_s for r in rows], y=[r.mae for r in rows], name=name, legendgroup=name, showlegend=first, line=style,
        mode="lines+markers", marker={"size": 7 if ours else 4}, opacity=1.0 if ours or rival else 0.8,
        customdata=[(r.crps, r.people, r.gaps) for r in rows],
        hovertemplate=f"{name} %{{x:g}} s: %{{y:.3f}} SD, CRPS %{{customdata[0]:.3f}}, %{{customdata[1]}} people, "
        "%{customdata[2]} gaps<extra></extra>",
    )  # fmt: skip


def _ribbon(rows: Sequence[Row]) -> go.Scatter:
    x = [r.gap_s for r in rows]
    y = [r.mae_ci[0] for r in rows] + [r.mae_ci[1] for r in rows][::-1]
    fill = {"fill": "toself", "fillcolor": "rgba(53,224,255,0.13)", "line": {"width": 0}}
    return go.Scatter(x=x + x[::-1], y=y, mode="lines", hoverinfo="skip", showlegend=False, **fill)


def _sensible(rows: Sequence[Row]) -> float:
    """Top of the axis: methods that run away must not flatten the rest."""
    held = [r.mae for r in rows if r.method in (OURS, "locf", "mean", "ridge")]
    return 1.25 * max(held, default=1.0)


def _example(e: Example, first: bool) -> list[go.Scatter]:
    known, truth = np.isfinite(e.past), np.isfinite(e.truth)
    last = float(e.past[known][-1])
    ages = [0.0, *e.ages_s.tolist()]
    live, lower, upper, later = ([last, *column.tolist()] for column in (*e.live, e.later[0]))
    look = {"showlegend": first, "hoverinfo": "skip", "mode": "lines"}
    band = {"fill": "toself", "fillcolor": "rgba(53,224,255,0.16)", "line": {"width": 0}}
    lines = (
        ("measured", e.past_s[known].tolist(), e.past[known].tolist(), INK, 1.6, "solid"),
        ("hidden truth", [0.0, *e.ages_s[truth].tolist()], [last, *e.truth[truth].tolist()], GREEN, 1.4, "dot"),
        ("shown live", ages, live, CYAN, 2.2, "dash"),
        ("revised", ages, later, AMBER, 1.6, "dashdot"),
    )
    ribbon = go.Scatter(
        x=ages + ages[::-1], y=lower + upper[::-1], name="90 % interval", legendgroup="b", **band, **look
    )
    return [ribbon] + [
        go.Scatter(x=x, y=y, name=name, legendgroup=name, line={"color": ink, "width": width, "dash": dash}, **look)
        for name, x, y, ink, width, dash in lines
    ]


def _some(found: Sequence[Example]) -> list[Example]:
    """Three gaps, long rather than short, of different people and lengths where there are any."""
    left = sorted(found, key=lambda e: (e.gap_s < 10, e.gap_s))
    picked: list[Example] = []
    while left and len(picked) < _COLUMNS:
        people, lengths = {p.person for p in picked}, {p.gap_s for p in picked}
        best = min(left, key=lambda e: (e.person in people) + (e.gap_s in lengths) + (e.gap_s < 10))
        picked.append(best)
        left.remove(best)
    return picked


def _inks(names: Sequence[str]) -> dict[str, str]:
    rest = [n for n in names if n != OURS and n not in _RIVAL_INK]
    return {OURS: CYAN, **_RIVAL_INK, **{n: _PALETTE[i % len(_PALETTE)] for i, n in enumerate(rest)}}


def _title(signal: str) -> str:
    return SIGNALS[signal].label if signal in SIGNALS else signal


def _dressed(figure: go.Figure, height: int, legend: bool = False) -> go.Figure:
    figure.update_layout(
        height=height, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor=PANEL, showlegend=legend,
        font={"color": INK, "family": "Inter, 'Segoe UI', system-ui, sans-serif", "size": 12},
        margin={"l": 50, "r": 20, "t": 50, "b": 40}, hoverlabel={"bgcolor": PANEL},
        legend={"orientation": "h", "y": 1.0, "yref": "container", "yanchor": "top", "x": 0},
    )  # fmt: skip
    figure.update_xaxes(gridcolor=GRID, zerolinecolor=GRID)
    figure.update_yaxes(gridcolor=GRID, zerolinecolor=GRID)
    figure.update_annotations(font={"size": 12, "color": FAINT})
    return figure
