"""The last hours of twins, read from their streams minute by minute and kept decoded, so that scrubbing is instant.

A stream only grows: a minute of it that is over never changes and may be kept. An entry that was written at time T
carries samples of T and earlier. So what was *shown* from t0 to t1 lies in the entries from t0 to t1 + LATE_S; what is
*best known* may have been written at any time since, and revisions are looked for up to now.

Of each minute three things are kept: revisions and events, a thinned trace (four samples a second) for long ranges,
and all samples. The last are heavy and are forgotten first. Who was erased is forgotten as soon as
the patients' cards are read again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field, replace
from typing import Any

from twin_engine.messages import FrameKind, Packed, read_wire
from twin_engine.store.feed import Entry
from twin_engine.store.history import Past, View, best, between, joined, live, select
from twin_engine.store.keys import HISTORY_MS, written
from twin_engine.store.thin import COARSE_US, settled, thin

Read = Callable[[str, str, int], Iterable[Entry]]  # patient, after this entry's id, up to this ms: oldest first

MINUTE_S = 60
LATE_S = 180.0  # a device in low-power mode sends once a minute, and what takes much longer is no LIVE word any more
CHUNK_MIN = 5  # minutes read in one go: what a long range needs beyond ROOM_BYTES is that much
EARLY_S = 10.0  # a device's clock may be ahead of the store's by a little
ROOM_BYTES = 256 * 2**20
_LAST = 2**64 - 1  # the greatest second half of an entry's id: reading goes on after it, with the minute's first
_SETTLED_S = 5.0  # clocks of web and store may differ by as much


@dataclass(slots=True)
class Minute:
    """One minute of a twin stream, decoded."""

    last_id: str
    over: bool = False
    shown: dict[str, list[Packed]] = field(default_factory=dict)  # empty once forgotten
    coarse: dict[str, Packed] | None = None
    revised: list[Packed] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    devices: dict[str, str] = field(default_factory=dict)
    complete: bool = True  # whether `shown` is there

    def add(self, entry: Entry) -> None:
        """The next entry; one that was taken already changes nothing. ValueError where its bytes are no wire message.

        A minute that still runs is read on together with the minutes before it, and so from before what it has.
        """
        if written(entry.id) <= written(self.last_id):
            return
        self.last_id = entry.id
        self.events.extend(entry.events)
        for device, facts in ((entry.status or {}).get("devices") or {}).items():
            self.devices[device] = str(facts.get("source", ""))
        for message in (entry.frame, entry.revision):
            if message:
                self._hear(message)

    def _hear(self, message: bytes) -> None:
        kind, _, blocks = read_wire(message)
        for block in blocks:
            if kind == FrameKind.REVISION:
                self.revised.append(block)
            else:
                self.shown.setdefault(block.channel, []).append(block)
        self.coarse = None

    def pack(self, before: dict[str, Packed]) -> int:
        """One piece a channel instead of many, and the thinned trace. Returns the bytes of all samples.

        `before`: the last sample of each channel in the minute before, as a hole may lie between the two.
        """
        self.shown = {c: [joined(parts)] for c, parts in self.shown.items()}
        if self.coarse is None:
            self.coarse = {c: _coarse(parts[0], before.get(c)) for c, parts in self.shown.items()}
        return sum(p.times_us.nbytes + p.data.nbytes for parts in self.shown.values() for p in parts)


def _coarse(own: Packed, before: Packed | None) -> Packed:
    if before is None or not len(own):
        return thin(live([own]), COARSE_US)
    whole = thin(live([before, own]), COARSE_US)
    return select(whole, whole.times_us > before.times_us[-1])


class Archive:
    """Histories of all patients over one way to read entries. One instance may serve several threads."""

    def __init__(self, read: Read, room_bytes: int = ROOM_BYTES) -> None:
        self._read = read
        self._room_bytes = room_bytes
        self._minutes: dict[str, dict[int, Minute]] = {}
        self._heavy: OrderedDict[tuple[str, int], int] = OrderedDict()  # least recently used first -> bytes
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)  # a long read holds up its own patient
        self._room = threading.Lock()  # of what is held of all patients

    def history(self, patient: str, t0_s: float, t1_s: float, view: View, now_s: float, coarse: bool = False) -> Past:
        """Samples and events of [t0, t1] as shown or as best known at `now_s`; `coarse`: thinned to a second.

        Raises what reading raises. A stretch older than the store keeps comes back empty.
        """
        t0_s = max(t0_s, now_s - HISTORY_MS / 1000)
        until_s = min(now_s + _SETTLED_S, t1_s + LATE_S)
        with self._locks[patient]:
            minutes = self._get(patient, t0_s - EARLY_S, until_s, now_s, not coarse)
            later = self._get(patient, until_s, now_s + _SETTLED_S, now_s, False) if view == "best" else {}
            return _past(minutes, later, (round(t0_s * 1e6), round(t1_s * 1e6)), view, coarse)

    def keep(self, patients: Set[str]) -> None:
        """Forget everybody else: who was erased must not be readable here for hours."""
        for patient in [p for p in list(self._minutes) if p not in patients]:
            with self._locks[patient]:
                for m in list(self._minutes[patient]):
                    self._forget(patient, m)
                del self._minutes[patient]

    def _get(self, patient: str, from_s: float, to_s: float, now_s: float, full: bool) -> dict[int, Minute]:
        """The minutes that hold entries of [from, to], oldest first; `full`: with all samples.

        What is given is held by the caller, whatever is forgotten meanwhile: all samples only where they were wanted.
        """
        kept = self._minutes.setdefault(patient, {})
        wanted = range(int(from_s // MINUTE_S), int(to_s // MINUTE_S) + 1)
        oldest_s = now_s - HISTORY_MS / 1000 - MINUTE_S
        for stale in [m for m in kept if not oldest_s <= m * MINUTE_S <= now_s + MINUTE_S]:  # to come: clocks went back
            self._forget(patient, stale)
        missing = [m for m in wanted if m not in kept or not kept[m].over or (full and not kept[m].complete)]
        held = {m: kept[m] if full else _light(kept[m]) for m in wanted if m in kept and m not in missing}
        for start in range(0, len(missing), CHUNK_MIN):
            chunk = missing[start : start + CHUNK_MIN]
            self._load(patient, chunk, now_s)
            held |= {m: kept[m] if full else _light(kept[m]) for m in chunk}
            self._make_room(patient)
        with self._room:
            for m in wanted:
                if (patient, m) in self._heavy:
                    self._heavy.move_to_end((patient, m))
        return dict(sorted(held.items()))

    def _load(self, patient: str, missing: list[int], now_s: float) -> None:
        """Read the missing minutes, neighbours in one go."""
        kept = self._minutes[patient]
        for m in missing:
            if m not in kept or not kept[m].complete:
                kept[m] = Minute(f"{m * MINUTE_S * 1000 - 1}-{_LAST}")
        starts = [m for m in missing if m - 1 not in missing]
        ends = [m for m in missing if m + 1 not in missing]
        for start, end in zip(starts, ends, strict=True):
            for entry in self._read(patient, kept[start].last_id, (end + 1) * MINUTE_S * 1000 - 1):
                minute = written(entry.id)[0] // (MINUTE_S * 1000)
                kept[minute].add(entry)
        for m in missing:
            kept[m].over = (m + 1) * MINUTE_S + _SETTLED_S < now_s
            size = kept[m].pack(_tails(kept.get(m - 1)))
            with self._room:
                self._heavy[patient, m] = size

    def _make_room(self, mine: str) -> None:
        """Forget the samples that were not asked for the longest, until the rest fits; what is thinned stays.

        The caller holds the lock of the patient `mine`. Whose lock another thread holds keeps hers: she is being read.
        """
        with self._room:
            held = sum(self._heavy.values())
            for patient, m in list(self._heavy)[:-1]:
                if held <= self._room_bytes:
                    return
                if patient == mine or self._locks[patient].acquire(blocking=False):
                    try:
                        held -= self._heavy.pop((patient, m))
                        self._minutes[patient][m] = _light(self._minutes[patient][m])
                    finally:
                        if patient != mine:
                            self._locks[patient].release()

    def _forget(self, patient: str, m: int) -> None:
        with self._room:
            self._heavy.pop((patient, m), None)
            self._minutes[patient].pop(m)


def _tails(minute: Minute | None) -> dict[str, Packed]:
    """The last sample of each channel."""
    return {c: select(s, slice(-1, None)) for c, s in ((minute and minute.coarse) or {}).items() if len(s)}


def _light(minute: Minute) -> Minute:
    """A minute without its samples; what is thinned stays."""
    return replace(minute, shown={}, complete=False)


def _past(
    minutes: dict[int, Minute], later: dict[int, Minute], span_us: tuple[int, int], view: View, coarse: bool
) -> Past:
    shown: dict[str, list[Packed]] = {}
    for minute in minutes.values():
        for channel, parts in _thinned(minute) if coarse else minute.shown.items():
            shown.setdefault(channel, []).extend(parts)
    revised: dict[str, list[Packed]] = {}
    known = (minutes | later).values()  # each once: the two stretches meet in one
    for r in [r for minute in known for r in minute.revised] if view == "best" else []:
        if len(r) and r.times_us[0] <= span_us[1] and r.times_us[-1] >= span_us[0]:
            revised.setdefault(r.channel, []).append(r)
    samples = {}
    for channel in shown | revised:
        parts = shown.get(channel, [])
        whole = live(parts) if view == "live" else best(parts, revised.get(channel, []))
        whole = settled(whole, COARSE_US) if coarse else whole
        if len(inside := between(whole, *span_us)):
            samples[channel] = inside
    events = [e for m in minutes.values() for e in m.events if span_us[0] <= float(e["t"]) * 1e6 <= span_us[1]]
    devices = {device: source for m in minutes.values() for device, source in m.devices.items()}
    return Past(samples, sorted(events, key=lambda e: float(e["t"])), devices)


def _thinned(minute: Minute) -> Iterable[tuple[str, list[Packed]]]:
    return [(c, [s]) for c, s in (minute.coarse or {}).items()]
