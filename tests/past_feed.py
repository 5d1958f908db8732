"""A past made from a script, in the words of the real protocol: what was shown, what came later, what happened.

One row a stretch of one channel: synthesised and revised when it closed, synthesised and told by late true readings,
withheld, quarantined, or nothing at all. Values are functions of time, so that tests know the truth.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.fake_feed import CARD, _truth
from tests.fake_log import FakeLog
from twin_engine.messages import REVISED, FrameKind, Provenance, Samples, encode_wire
from twin_engine.registry import PatientCard
from twin_engine.store.archive import Archive
from twin_engine.store.feed import Entry, Past, View

PERIODS = {"emg_activity_mV.zyg": 0.02, "emg_activity_mV.corr": 0.02, "gsr_uS": 0.25, "room_temp_C": 2.0}
STEP_S = 1.0  # an entry a second
DAY_CARD = PatientCard("p-7f3a", CARD.pseudonym, 1968, "Bed 4", "sim-01", "female", 168.0, 64.0, number="4711")


@dataclass(frozen=True)
class Stretch:
    """What became of a channel from `start_s` to `end_s` after the beginning."""

    channel: str
    start_s: float
    end_s: float
    what: str  # mended, late, withheld, quarantined, nothing
    late_s: float = 20.0  # after its end: when true readings arrive


def truth(channel: str, times_us: Any) -> Any:
    """What the sensor would say."""
    return _truth(channel, times_us)


class PastFeed:
    """A :class:`twin_engine.store.feed.Feed` whose past was written by a script; nothing new happens but the clock."""

    def __init__(
        self,
        seconds: float,
        script: list[Stretch],
        events: list[tuple[float, dict[str, Any]]],
        card: PatientCard = DAY_CARD,
    ) -> None:
        self.card = card
        self.end_s = float(int(time.time())) - 5
        self.start_s = self.end_s - seconds
        self.logs = FakeLog({card.id: card})
        self.acts: list[Any] = []
        self._script = script
        self._entries = [self._entry(k, events) for k in range(int(seconds / STEP_S))]
        self._archive = Archive(self._between)

    def recent(self, patient: str, seconds: float) -> list[Entry]:
        return [e for e in self._entries[-120:] if _ms(e) >= (time.time() - seconds) * 1000]

    def follow(self, last: dict[str, str], block_ms: int) -> list[tuple[str, Entry]]:
        time.sleep(block_ms / 1000)
        now = time.time()
        return [(self.card.id, Entry(f"{int(now * 1000)}-0", b"", b"", self._status(now)))]

    def act(self, patient: str, kind: str, body: dict[str, Any], who: str) -> None:
        self.acts.append((patient, kind, body, who))

    def patients(self) -> list[PatientCard]:
        return [self.card]

    def history(self, patient: str, t0_s: float, t1_s: float, view: View = "live", coarse: bool = False) -> Past:
        return self._archive.history(patient, t0_s, t1_s, view, time.time(), coarse)

    def _between(self, patient: str, after_id: str, to_ms: int) -> list[Entry]:
        after = int(after_id.split("-")[0])
        return [e for e in self._entries if after < _ms(e) <= to_ms]

    # ------------------------------------------------------------------------------------------- what is written

    def _entry(self, k: int, events: list[tuple[float, dict[str, Any]]]) -> Entry:
        at = k * STEP_S
        made = [s for channel in PERIODS for s in self._shown(channel, at)]
        late = [s for row in self._script for s in self._later(row, at)]
        clock_s = self.start_s + at + STEP_S
        told = [{"t": clock_s, "who": "", "facts": {}, "channel": "", "severity": "info", "text": "", **e}
                for t, e in events if at <= t < at + STEP_S]  # fmt: skip
        frame = encode_wire(FrameKind.LIVE, clock_s, made) if made else b""
        revision = encode_wire(FrameKind.REVISION, clock_s, late) if late else b""
        return Entry(f"{int(clock_s * 1000)}-0", frame, revision, self._status(clock_s), told)

    def _times(self, channel: str, from_s: float, to_s: float) -> Any:
        step = round(PERIODS[channel] * 1e6)
        ends = [-(-round((self.start_s + s) * 1e6) // step) for s in (from_s, to_s)]
        return np.arange(*ends, dtype=np.int64) * step

    def _shown(self, channel: str, at: float) -> list[Samples]:
        ends = [s for r in self._script if r.channel == channel for s in (r.start_s, r.end_s)]
        cuts = sorted({at, at + STEP_S, *(s for s in ends if at < s < at + STEP_S)})
        out = []
        for a, b in itertools.pairwise(cuts):
            row = next((r for r in self._script if r.channel == channel and r.start_s <= a < r.end_s), None)
            times = self._times(channel, a, b)
            if len(times) and (row is None or row.what != "nothing"):
                out.append(_samples(channel, times, row, self.start_s))
        return out

    def _later(self, row: Stretch, at: float) -> list[Samples]:
        if row.what == "mended" and at <= row.end_s < at + STEP_S:
            times = self._times(row.channel, row.start_s, row.end_s)
            values, n = truth(row.channel, times) * 1.02, len(times)
            mark = np.full(n, Provenance.SYNTHESISED | REVISED, np.uint8)
            return [Samples(row.channel, times, values, values * 0.95, values * 1.05, np.full(n, 0.9), mark)]
        if row.what == "late" and at <= row.end_s + row.late_s < at + STEP_S:
            times = self._times(row.channel, row.start_s, row.end_s)
            values, n = truth(row.channel, times), len(times)
            mark = np.full(n, Provenance.MEASURED | REVISED, np.uint8)
            return [Samples(row.channel, times, values, values, values, np.ones(n), mark)]
        return []

    def _status(self, t_s: float) -> dict[str, Any]:
        devices = {self.card.device: {"source": "simulated", "last_frame_s": t_s, "unplugged": []}}
        return {
            "t": t_s,
            "patient": self.card.id,
            "devices": devices,
            "view_lag_s": 2.0,
            "counters": {},
            "channels": {},
        }


def _samples(channel: str, times: Any, row: Stretch | None, start_s: float) -> Samples:
    values, n = truth(channel, times), len(times)
    if row is None:
        return Samples(channel, times, values, values, values, np.ones(n), np.zeros(n, np.uint8))
    if row.what == "withheld":
        nothing = np.full(n, np.nan)
        return Samples(
            channel, times, nothing, nothing, nothing, np.zeros(n), np.full(n, Provenance.WITHHELD, np.uint8)
        )
    if row.what == "quarantined":
        mark = np.full(n, Provenance.QUARANTINED, np.uint8)
        return Samples(channel, times, values * 3, values * 0.9, values * 1.1, np.full(n, 0.4), mark)
    age = times / 1e6 - start_s - row.start_s
    level = float(truth(channel, np.array([round((start_s + row.start_s) * 1e6)]))[0])
    made = level + 0.3 * (values - level)
    spread = np.maximum(np.abs(level), 1e-4) * (0.04 + 0.25 * np.sqrt(age / 30))
    sure = 0.95 * np.exp(-age / 40)
    mark = np.full(n, Provenance.SYNTHESISED, np.uint8)
    return Samples(channel, times, made, made - spread, made + spread, sure, mark, "lstm-vae")


def _ms(entry: Entry) -> int:
    return int(entry.id.split("-")[0])


def eventful(seconds: float = 1500) -> PastFeed:
    """Twenty-five minutes in which everything happens once or twice."""
    script = [
        Stretch("emg_activity_mV.zyg", 300, 318, "late"),
        Stretch("emg_activity_mV.corr", 300, 318, "mended"),
        Stretch("gsr_uS", 600, 640, "late", 120),
        Stretch("gsr_uS", 640, 700, "withheld"),
        Stretch("room_temp_C", 800, 900, "nothing"),
        Stretch("emg_activity_mV.zyg", 1000, 1012, "quarantined"),
        Stretch("emg_activity_mV.corr", 1200, 1230, "mended"),
    ]
    cheek, skin = "emg_activity_mV.zyg", "gsr_uS"
    rows = [
        (299.0, "command", "info", "sim-01 confirms: emg unplugged", "", "clinician (demo)"),
        (304.0, "gap-opened", "warning", "EMG cheek: no reading for 4 s", cheek, ""),
        (604.0, "alarm-raised", "warning", "Skin conductance silent", skin, ""),
        (640.0, "withheld", "warning", "Skin conductance: withheld", skin, ""),
        (660.0, "alarm-acknowledged", "info", "Skin conductance silent: acknowledged", skin, "nurse <b>A</b>"),
        (950.0, "refused", "alarm", "forged: expected a message sealed by sim-01; nothing stored", "", ""),
        (1000.0, "quarantined", "alarm", "EMG cheek: outside its range", cheek, ""),
    ]
    names = ("kind", "severity", "text", "channel", "who")
    events = [(t, dict(zip(names, rest, strict=True))) for t, *rest in rows]
    return PastFeed(seconds, script, events)
