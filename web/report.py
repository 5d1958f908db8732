"""The report of a shift: one page of HTML that needs nothing else, to be read, printed or saved as PDF by the browser.

Whose it is and of when; per channel what was measured, made up and withheld; alarms, refusals, what people did to the
record and commands, with who did what; a plot of each channel; what it must not be used for. No script runs in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from html import escape
from typing import Any

from device.signals import channel as channel_row
from twin_engine.messages import Packed
from twin_engine.registry import shown_number
from twin_engine.store.feed import Feed, Past, View
from twin_engine.store.history import joined
from twin_engine.store.thin import thin
from web.asked import Asked, slice_us
from web.channels import tolerance_of
from web.compare import Score, gaps, score
from web.look import looks
from web.report_facts import Facts, facts
from web.report_plot import STYLES, TRUTH, plot
from web.report_story import CHAPTERS, Teller
from web.words import Translate, catalogue, words

_POINTS = 1600
_TICKS = 7
_MAX_GAPS = 40
_MAX_LINES = 400  # of the story; a report that leaves lines out says so
_WHOLE_S = 3600.0  # longer reports are made from the thinned traces: the shares stay right to a second

_STYLE = """@page { size: A4 landscape; margin: 13mm; }
* { box-sizing: border-box; } body { font: 11px/1.45 "Inter", system-ui, sans-serif; color: #10202e; background: #fff;
max-width: 1080px; margin: 24px auto; padding: 0 16px; } h1 { font-size: 20px; margin: 0 0 2px; }
h2 { font-size: 13px; margin: 20px 0 6px; break-after: avoid; } p { margin: 2px 0 6px; } dl { display: grid;
grid-template-columns: max-content 1fr max-content 1fr; gap: 2px 14px; margin: 10px 0; } dt { color: #4a5a69; }
dd { margin: 0; font-weight: 600; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 3px 6px; border-bottom: 1px solid #d5dce3; vertical-align: top; }
th { font-weight: 600; color: #33434f; }
th:first-child, td:first-child, .story td, .story th { text-align: left; }
tr, figure { break-inside: avoid; } figure { margin: 0 0 6px; } figcaption { font-weight: 600; }
svg { width: 100%; height: auto; } svg text { font: 10px "Inter", system-ui, sans-serif; fill: #33434f; }
.note { border: 1px solid #7a2a00; padding: 6px 10px; margin: 10px 0; font-weight: 600; }
.key { display: flex; gap: 18px; flex-wrap: wrap; margin-bottom: 8px; }
.key svg { width: 34px; height: 10px; margin-right: 5px; }
.dim { color: #4a5a69; font-weight: 400; } @media print { body { margin: 0; max-width: none; padding: 0; } }"""


def report(feed: Feed, a: Asked, who: str, made: datetime, language: str) -> str:
    """The whole page. Raises StoreError."""
    t = words(language)
    coarse = a.span_s > _WHOLE_S
    shown = a.past(feed, "live", coarse)
    known = a.past(feed, "best", coarse)
    pen = _Pen(feed, a, t, language, shown, known, coarse)
    body = "".join((*pen.head(who, made), *pen.table(), *pen.story(), *pen.plots(), *pen.limits()))
    title = escape(t("report.title", patient=a.card.pseudonym))
    return (
        f'<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    )


class _Pen:
    """Writes the parts of one report."""

    def __init__(
        self, feed: Feed, a: Asked, t: Translate, language: str, shown: Past, known: Past, coarse: bool
    ) -> None:
        self._feed, self._a, self._t, self._known_words = feed, a, t, catalogue(language)
        self._language = language
        self._shown, self._known, self._coarse = shown, known, coarse
        self._channels = [c for c in sorted(shown.samples | known.samples, key=_order) if c in shown.samples]

    def head(self, who: str, made: datetime) -> Iterator[str]:
        a, t, card = self._a, self._t, self._a.card
        devices = ", ".join(
            f"{device} ({t('source.' + (source if f'source.{source}' in self._known_words else 'unknown'))})"
            for device, source in sorted(self._shown.devices.items())
        )
        rows = (
            ("report.patient", card.pseudonym),
            ("report.number", shown_number(card)),
            ("report.born", str(card.birth_year) if card.birth_year else t("patient.born_unknown")),
            ("report.bed", card.bed),
            ("report.range", f"{self._day(a.t0_s)} – {self._day(a.t1_s)}"),
            ("report.zone", a.zone.key),
            ("report.device", devices or t("report.no_device")),
            ("report.made", f"{self._day(made.timestamp())} · {who}"),
        )
        yield f"<h1>{escape(t('report.title', patient=card.pseudonym))}</h1>"
        yield f'<p class="note">{escape(t("notice.secondary"))}. {escape(t("report.made_values"))}</p><dl>'
        yield from (f"<dt>{escape(t(key))}</dt><dd>{escape(text)}</dd>" for key, text in rows)
        yield "</dl>"

    def table(self) -> Iterator[str]:
        t = self._t
        yield f"<h2>{escape(t('report.channels'))}</h2>"
        if not self._channels:
            yield f"<p>{escape(t('report.empty'))}</p>"
            return
        names = ("channel", "measured", "synthesised", "quarantined", "withheld", "none", "range_measured", "gaps",
                 "confidence", "truth")  # fmt: skip
        yield "<table><thead><tr>" + "".join(f"<th>{escape(t(f'report.col_{n}'))}</th>" for n in names)
        yield "</tr></thead><tbody>"
        yield from (self._row(c) for c in self._channels)
        yield f'</tbody></table><p class="dim">{escape(t("report.table_note"))}</p>'

    def _row(self, channel: str) -> str:
        shown = thin(self._shown.samples[channel], 1, marked=self._coarse)
        found, holes = facts(shown, self._a.span_s, not self._coarse), gaps(shown)
        judged = self._judged(channel, holes)
        longest = max((b - a for a, b in holes), default=0.0)
        made = found.seconds["synthesised"] + found.seconds["predicted"]
        cells = [f"{escape(self._name(channel))} <span class='dim'>{escape(_unit(channel))}</span>"]
        cells += [self._share(found.seconds[k] if k != "synthesised" else made)
                  for k in ("measured", "synthesised", "quarantined", "withheld", "none")]  # fmt: skip
        cells += [self._values(channel, found)]
        cells += [self._t("report.gaps", n=len(holes), longest=f"{longest:.0f}") if holes else "–"]
        cells += ["–" if found.confidence is None else f"{found.confidence * 100:.0f} %", self._truth(channel, judged)]
        return "<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>"

    def _share(self, seconds: float) -> str:
        if seconds < 0.05:
            return "–"
        return f"{100 * seconds / self._a.span_s:.1f} %<br><span class='dim'>{seconds / 60:.1f} min</span>"

    def _values(self, channel: str, found: Facts) -> str:
        values = (found.low, found.median, found.high)
        return " / ".join("–" if v is None else _number(v, channel) for v in values) if found.low is not None else "–"

    def _judged(self, channel: str, holes: list[tuple[float, float]]) -> Score:
        """Then against later: of the whole samples, in long reports those of the longest gaps."""
        shown, known = (past.samples.get(channel) for past in (self._shown, self._known))
        if self._coarse:
            longest = sorted(holes, key=lambda gap: gap[0] - gap[1])[:_MAX_GAPS]
            shown, known = (self._whole(channel, view, sorted(longest)) for view in ("live", "best"))
        return score(shown, known, tolerance_of(channel))

    def _whole(self, channel: str, view: View, holes: list[tuple[float, float]]) -> Packed | None:
        pasts = [replace(self._a, t0_s=start, t1_s=end).past(self._feed, view) for start, end in holes]
        parts = [past.samples[channel] for past in pasts if channel in past.samples]
        return joined(parts) if parts else None

    def _truth(self, channel: str, judged: Score) -> str:
        if not judged.made and not judged.late:
            return "–"
        if not judged.pairs or judged.error is None or judged.inside is None:
            return escape(self._t("report.no_truth"))
        error = f"{_number(judged.error, channel)} {_unit(channel)}".strip()
        return escape(self._t("report.truth", n=judged.pairs, error=error, inside=f"{judged.inside * 100:.0f}"))

    def story(self) -> Iterator[str]:
        t = self._t
        tell = Teller(self._language, self._name).sentence
        for name, wanted in CHAPTERS.items():
            lines = [e for e in self._shown.events if e.get("kind") in wanted]
            yield f"<h2>{escape(t(f'report.{name}'))}</h2>"
            if not lines:
                yield f"<p>{escape(t('report.nothing'))}</p>"
                continue
            heads = "".join(f"<th>{escape(t(f'report.{n}'))}</th>" for n in ("when", "what", "who"))
            yield f"<table class='story'><thead><tr>{heads}</tr></thead><tbody>"
            for e in lines[:_MAX_LINES]:
                cells = (self._clock(float(e["t"])), tell(e), str(e.get("who") or "–"))
                yield "<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>"
            yield "</tbody></table>"
            if len(lines) > _MAX_LINES:
                yield f"<p>{escape(t('report.more', n=len(lines) - _MAX_LINES))}</p>"

    def plots(self) -> Iterator[str]:
        a, t = self._a, self._t
        yield f"<h2>{escape(t('report.plots'))}</h2>{''.join(self._key())}"
        ticks = [self._clock(a.t0_s + a.span_s * i / (_TICKS - 1)) for i in range(_TICKS)]
        size = slice_us(a.span_s, _POINTS, 1)
        for channel in self._channels:
            shown, known = (self._thinned(past.samples.get(channel), size) for past in (self._shown, self._known))
            name = f"{self._name(channel)}, {_unit(channel)}"
            if shown is not None:
                drawn = plot(shown, known, a.t0_s, a.t1_s, _factor(channel), ticks, escape(name, quote=True))
                yield f"<figure><figcaption>{escape(name)}</figcaption>{drawn}</figure>"

    def _thinned(self, s: Packed | None, size: int) -> Packed | None:
        return None if s is None else thin(s, size, marked=self._coarse)

    def _key(self) -> Iterator[str]:
        yield '<div class="key">'
        rows = [
            (self._t(f"report.key_{p.name.lower()}"), style) for p, style in STYLES.items() if p.name != "PREDICTED"
        ]
        for text, style in [*rows, (self._t("report.key_truth"), TRUTH)]:
            yield f'<span><svg viewBox="0 0 34 10"><path d="M0 5H34" fill="none" {style}/></svg>{escape(text)}</span>'
        yield f"<span>▨ {escape(self._t('report.key_withheld'))}</span></div>"

    def limits(self) -> Iterator[str]:
        yield f"<h2>{escape(self._t('report.limits'))}</h2>"
        yield from (f"<p>{escape(self._t(f'report.limits_{n}'))}</p>" for n in ("use", "made", "truth", "time"))

    def _name(self, channel: str) -> str:
        signal, _, part = channel.partition(".")
        name = self._known_words.get(f"signal.{signal}", signal)
        return f"{name} {self._known_words.get(f'part.{part}', part)}".strip()

    def _clock(self, t_s: float) -> str:
        return f"{datetime.fromtimestamp(t_s, self._a.zone):%H:%M:%S}"

    def _day(self, t_s: float) -> str:
        return f"{datetime.fromtimestamp(t_s, self._a.zone):%Y-%m-%d %H:%M:%S}"


def _look(channel: str) -> dict[str, Any]:
    return looks().get(channel.partition(".")[0], {"unit": "", "factor": 1.0, "digits": 2, "order": 999})


def _unit(channel: str) -> str:
    return str(_look(channel)["unit"])


def _factor(channel: str) -> float:
    return float(_look(channel)["factor"])


def _number(value: float, channel: str) -> str:
    return f"{value * _factor(channel):.{int(_look(channel)['digits'])}f}".replace("-", "−")


def _order(channel: str) -> tuple[bool, int, str]:
    row = channel_row(channel)
    return (row is not None and row.region == "room", int(_look(channel)["order"]), channel)
