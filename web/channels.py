"""What pages and reports must know of a channel that may no longer be there: its signal's unit, kind and tolerance."""

from __future__ import annotations

from typing import Any

from device.signals import Tolerance
from device.signals import channel as channel_row

_UNKNOWN = Tolerance(0.0, 0.0, "no row for this signal")


def describe(channel: str) -> dict[str, Any]:
    """For the page, as JSON."""
    row = channel_row(channel)
    if row is None:
        return {"label": channel, "signal": channel, "unit": "", "kind": "level", "region": "", "tolerance": [0, 0]}
    s = row.signal
    return {
        "label": row.label, "signal": s.id, "unit": s.unit, "kind": s.kind.value, "region": row.region,
        "period_s": s.period_s, "tolerance": [s.tolerance.absolute, s.tolerance.relative],
    }  # fmt: skip


def tolerance_of(channel: str) -> Tolerance:
    """The signal's tolerance; of an unknown one none, so that nothing passes for right."""
    row = channel_row(channel)
    return row.signal.tolerance if row else _UNKNOWN
