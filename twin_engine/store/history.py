"""What was shown of a patient, and what is best known of her now, out of the words of her twin stream.

LIVE messages are what was shown; the first word counts, as an engine that was killed may repeat itself. REVISION
messages replace, in the order in which they came, whatever lies between their first and their last time: late true
readings and gaps mended from both sides. Both stay in the stream, so both views can be had of any moment. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from twin_engine.messages import SAMPLE, FrameKind, Packed, Samples, Times, read_wire

View = Literal["live", "best"]
_SAME_US = 500  # closer than this, two times are one sample


@dataclass(frozen=True, slots=True)
class Past:
    """A stretch of a patient's history. `devices`: those that spoke in it, and what their source was."""

    samples: dict[str, Packed]  # one a channel that has any, in order of time
    events: list[dict[str, Any]]  # oldest first
    devices: dict[str, str] = field(default_factory=dict)


def merge(messages: Iterable[bytes]) -> list[Samples]:
    """One :class:`Samples` a channel, as best known, out of LIVE and REVISION messages, oldest first.

    Raises ValueError where one is no wire message.
    """
    shown: dict[str, list[Packed]] = {}
    revised: dict[str, list[Packed]] = {}
    for message in messages:
        kind, _, blocks = read_wire(message)
        for block in blocks:
            (revised if kind == FrameKind.REVISION else shown).setdefault(block.channel, []).append(block)
    return [best(shown.get(c, ()), revised.get(c, ())).samples() for c in shown | revised]


def live(shown: Sequence[Packed]) -> Packed:
    """What was shown: of words for the same time, the first. `shown` holds at least one, in order of arrival."""
    whole = in_order(shown)
    return select(whole, np.append(np.ones(min(1, len(whole)), np.bool_), _apart(whole)))


def best(shown: Sequence[Packed], revised: Sequence[Packed]) -> Packed:
    """What is known now: of words for the same time, the last. One of the two holds at least one; each by arrival."""
    kept = list(shown)
    if revised := [r for r in revised if len(r)]:
        edges, newest = _cover(revised)
        kept = [_uncovered(s, -1, edges, newest) for s in shown]
        kept += [_uncovered(r, i, edges, newest) for i, r in enumerate(revised)]
    whole = in_order(kept)
    return select(whole, np.append(_apart(whole), np.ones(min(1, len(whole)), np.bool_)))


def _apart(s: Packed) -> Any:
    """(N - 1,) whether two neighbours are two samples rather than two words for one time."""
    return np.diff(s.times_us) > _SAME_US


def _cover(revised: Sequence[Packed]) -> tuple[Times, Times]:
    """Sorted edges of all revisions, and for each stretch between two edges the newest revision over it (-1: none)."""
    spans = np.array([(r.times_us[0] - _SAME_US, r.times_us[-1] + _SAME_US + 1) for r in revised])
    edges = np.unique(spans)
    newest = np.full(len(edges) + 1, -1)
    for i, (start, end) in enumerate(np.searchsorted(edges, spans)):
        newest[start + 1 : end + 1] = i
    return edges, newest


def _uncovered(s: Packed, own: int, edges: Times, newest: Times) -> Packed:
    """The samples that no revision after number `own` replaced."""
    return select(s, newest[np.searchsorted(edges, s.times_us, side="right")] <= own)


def between(s: Packed, t0_us: int, t1_us: int) -> Packed:
    """The samples of [t0, t1]; those of `s` are in order of time."""
    return select(s, slice(*np.searchsorted(s.times_us, (t0_us, t1_us + 1))))


def select(s: Packed, which: Any) -> Packed:
    """Some of the samples, by index, slice or mask."""
    return Packed(s.channel, s.times_us[which], s.data[which])


def joined(parts: Sequence[Packed]) -> Packed:
    """Several pieces as one, in the order given; at least one."""
    if len(parts) == 1:
        return parts[0]
    whole = np.frombuffer(b"".join(p.data.tobytes() for p in parts), SAMPLE)  # concatenate compares all fields' types
    return Packed(parts[0].channel, np.concatenate([p.times_us for p in parts]), whole)


def in_order(parts: Sequence[Packed]) -> Packed:
    """Several pieces as one, in order of time; samples of one time in the order given. At least one piece."""
    whole = joined(parts)
    if len(whole) < 2 or (np.diff(whole.times_us) >= 0).all():
        return whole
    return select(whole, np.argsort(whole.times_us, kind="stable"))
