"""A channel's plot for paper: inline SVG with the marks of the screen, told apart without colour. Pure.

Measured solid; synthesised dashed with its 90 % ribbon; quarantined dotted; withheld hatched; where there is no sample
there is no line; late true readings as a thin dark line over what was shown.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from twin_engine.messages import REVISED, Packed, Provenance
from twin_engine.store.history import select
from twin_engine.store.thin import HOLE

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1000, 132, 56, 6, 8, 18
STYLES = {
    Provenance.MEASURED: 'stroke="#0b3d63" stroke-width="1.1"',
    Provenance.SYNTHESISED: 'stroke="#a1407c" stroke-width="1.7" stroke-dasharray="6 3"',
    Provenance.PREDICTED: 'stroke="#a1407c" stroke-width="1.7" stroke-dasharray="6 3"',
    Provenance.QUARANTINED: 'stroke="#8a5a00" stroke-width="1.9" stroke-dasharray="1.5 3"',
}
TRUTH = 'stroke="#111" stroke-width="0.9"'
RIBBON = 'fill="#a1407c" fill-opacity="0.16" stroke="none"'
HATCH = '<pattern id="eb-hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">' \
        '<rect width="6" height="6" fill="#fff"/><rect width="1.6" height="6" fill="#8c97a3"/></pattern>'  # fmt: skip
_KIND = 0x0F


def plot(
    shown: Packed, known: Packed | None, t0_s: float, t1_s: float, factor: float, ticks: list[str], name: str
) -> str:
    """The SVG of one channel; `shown` and `known` are thinned. `ticks`: labels, evenly spaced from t0 to t1."""
    truth = [run for mark, run in _runs(known) if mark == Provenance.MEASURED | REVISED] if known else []
    low, high = _range([shown, *truth])
    place = _Place(t0_s, t1_s, low, high)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}"><defs>{HATCH}</defs>']
    parts += _frame(place, factor, ticks)
    for mark, run in _runs(shown):
        parts += _run(mark & _KIND, run, place)
    parts += [_line(run, place, TRUTH) for run in truth]
    return "".join([*parts, "</svg>"])


class _Place:
    """Where a time and a value lie on the paper."""

    def __init__(self, t0_s: float, t1_s: float, low: float, high: float) -> None:
        self.t0_s, self.t1_s, self.low, self.high = t0_s, t1_s, low, high

    def x(self, times_us: Any) -> Any:
        share = (times_us / 1e6 - self.t0_s) / (self.t1_s - self.t0_s)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, values: Any) -> Any:
        share = (values - self.low) / (self.high - self.low)
        return TOP + (1 - np.clip(share, 0, 1)) * (HEIGHT - TOP - BOTTOM)


def _range(traces: list[Packed]) -> tuple[float, float]:
    values = np.concatenate([s.data["value"] for s in traces]).astype(np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    room = max(high - low, abs(high) * 0.02, 1e-9)
    return low - 0.08 * room, high + 0.08 * room


def _frame(place: _Place, factor: float, ticks: list[str]) -> Iterator[str]:
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    yield f'<rect x="{LEFT}" y="{TOP}" width="{right - LEFT}" height="{floor - TOP}" fill="none" stroke="#b6c0ca"/>'
    for value, y in ((place.high, TOP + 8), (place.low, floor - 2)):
        yield f'<text x="{LEFT - 5}" y="{y}" text-anchor="end">{_short(value * factor)}</text>'
    for i, label in enumerate(ticks):
        x = LEFT + (right - LEFT) * i / (len(ticks) - 1)
        anchor = "start" if i == 0 else "end" if i == len(ticks) - 1 else "middle"
        yield f'<path d="M{x:.1f} {TOP}V{floor}" stroke="#e3e8ed"/>'
        yield f'<text x="{x:.1f}" y="{HEIGHT - 5}" text-anchor="{anchor}">{label}</text>'


def _runs(s: Packed) -> Iterator[tuple[int, Packed]]:
    """(provenance byte, samples) of stretches of one provenance; those of made values start at what was measured."""
    marks = s.data["provenance"]
    cuts = [0, *(np.flatnonzero(marks[1:] != marks[:-1]) + 1).tolist(), len(s)]
    for a, b in itertools.pairwise(cuts):
        if b > a and marks[a] != HOLE:
            made = (marks[a] & _KIND) in (Provenance.SYNTHESISED, Provenance.PREDICTED)
            joins = made and a > 0 and (marks[a - 1] & _KIND) == Provenance.MEASURED
            yield int(marks[a]), select(s, slice(a - joins, b))


def _run(kind: int, run: Packed, place: _Place) -> Iterator[str]:
    if kind == Provenance.WITHHELD:
        x0, x1 = place.x(run.times_us[0]), max(place.x(run.times_us[-1]), place.x(run.times_us[0]) + 1)
        height = HEIGHT - TOP - BOTTOM
        yield f'<rect x="{x0:.1f}" y="{TOP}" width="{x1 - x0:.1f}" height="{height}" fill="url(#eb-hatch)"/>'
        return
    if kind in (Provenance.SYNTHESISED, Provenance.PREDICTED):
        yield _ribbon(run, place)
    yield _line(run, place, STYLES[Provenance(kind)])


def _line(run: Packed, place: _Place, style: str) -> str:
    return (
        f'<path d="{_path(place.x(run.times_us), place.y(run.data["value"].astype(np.float64)))}" fill="none" {style}/>'
    )


def _ribbon(run: Packed, place: _Place) -> str:
    x, upper, lower = place.x(run.times_us), place.y(run.data["upper"]), place.y(run.data["lower"])
    outline = _path(np.concatenate((x, x[::-1])), np.concatenate((upper, lower[::-1])))
    return f'<path d="{outline}Z" {RIBBON}/>'


def _path(x: Any, y: Any) -> str:
    points = [f"{a:.1f} {b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True) if math.isfinite(b)]
    if len(points) == 1:
        return f"M{points[0]}h0.8"
    return "M" + "L".join(points) if points else "M0 0"


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")
