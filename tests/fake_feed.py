"""A twin stream without engine, Redis or device: believable entries made from the clock alone.

It speaks the real protocol (:class:`twin_engine.store.feed.Feed`, real wire messages) and behaves like the house:
2-second frames that arrive a little late, a tick every 0.25 s, gaps that are synthesised with falling confidence and
withheld in the end, a revision when a gap closes, answers to commands as events. `down` and `frozen` break it.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from device.signals import channel as channel_row
from tests.fake_clinic import Clinic
from tests.fake_log import FakeLog
from twin_engine.messages import REVISED, FrameKind, Provenance, Samples, encode_wire
from twin_engine.store.archive import Archive
from twin_engine.store.errors import StoreDown
from twin_engine.store.feed import Entry, Past, PatientCard, View

TICK_S = 0.25
FRAME_S = 2.0
ARRIVAL_S = 0.15
GAP_S = 4.0  # silence longer than this is a gap
VIEW_LAG_S = 4.5
ANSWER_S = 0.6
FLOOR = 0.2  # confidence below this is withheld
MINUTE_S = 75.0

PERIODS = {
    "emg_activity_mV.zyg": 0.01, "emg_activity_mV.corr": 0.01, "gsr_uS": 0.01, "emg_raw_mV.zyg": 0.01,
    "emg_raw_mV.corr": 0.01, "room_temp_C": 2.0, "room_rh_pct": 2.0,
}  # fmt: skip
CARD = PatientCard("p-7f3a", "KESTREL-17", 1968, "Bed 4", "sim-01", "female", 168.0, 64.0)


@dataclass
class Line:
    """State of one channel."""

    head_s: float  # everything before this has been issued
    gap_from_s: float | None = None
    gap_open: bool = False


class FakeFeed:
    """One patient on one device. `decay_s`: how fast confidence falls in a gap."""

    def __init__(self, *, card: PatientCard = CARD, decay_s: float = 30.0, past_s: float = 30.0) -> None:
        self.clinic = Clinic({card.id: card})
        self.logs = FakeLog(self.clinic.cards)
        self._own = card.id
        self.decay_s = decay_s
        self.commands: list[tuple[str, str, dict[str, Any]]] = []
        self.unplugged: set[str] = set()
        self.distrusted: set[str] = set()
        self.down = False
        self.frozen = False
        self.source = "simulated"
        now_s = time.time()
        self._lock = threading.RLock()
        self._made_s = self._tick_of(now_s - past_s)
        self._lines = {c: Line(self._made_s - FRAME_S) for c in PERIODS}
        self._entries: list[tuple[float, Entry]] = []
        self._answers: list[tuple[float, str, dict[str, Any]]] = []
        self._frame_s = self._made_s - FRAME_S
        self._refused = 0

    @property
    def card(self) -> PatientCard:
        """The patient's record as it is now."""
        return self.clinic.cards[self._own]

    # ------------------------------------------------------------------------------------------ the protocol

    def recent(self, patient: str, seconds: float) -> list[Entry]:
        self._make()
        since = time.time() - seconds
        return [entry for at_s, entry in self._entries if at_s >= since]

    def follow(self, last: dict[str, str], block_ms: int) -> list[tuple[str, Entry]]:
        deadline = time.monotonic() + block_ms / 1000
        while True:
            self._make()
            after = last.get(self.card.id)
            with self._lock:
                new = [(self.card.id, e) for _, e in self._entries if after is None or _key(e.id) > _key(after)]
            if new or time.monotonic() > deadline:
                return new
            time.sleep(0.02)

    def history(self, patient: str, t0_s: float, t1_s: float, view: View = "live", coarse: bool = False) -> Past:
        archive = Archive(lambda _, after, to_ms: _within(self.recent(patient, 3600.0), after, to_ms))
        return archive.history(patient, t0_s, t1_s, view, time.time(), coarse)

    def act(self, patient: str, kind: str, body: dict[str, Any], who: str) -> None:
        self._check()
        if kind != "command":
            self.clinic.act(patient, kind, body, who)
            return
        name, payload = body["name"], dict(body["payload"])
        self.commands.append((body["device"], name, payload))
        self._answers.append((time.time() + ANSWER_S, name, payload))

    def patients(self) -> list[PatientCard]:
        self._check()
        return [self.card]

    # ------------------------------------------------------------------------------------------ the engine

    def _check(self) -> None:
        if self.down:
            raise StoreDown("expected a Redis that answers, got a refused connection; nothing was read")

    def _make(self) -> None:
        self._check()
        with self._lock:
            now_s = time.time()
            while not self.frozen and self._made_s + TICK_S <= now_s:
                self._made_s += TICK_S
                self._entries.append((self._made_s, self._tick(self._made_s)))
            self._entries = [(at, e) for at, e in self._entries if at > now_s - MINUTE_S]

    def thaw(self) -> None:
        """Go on after `frozen` as an engine does that was restarted: the time between is gone."""
        with self._lock:
            self._made_s = self._tick_of(time.time())
            self._frame_s = self._made_s - FRAME_S
            for line in self._lines.values():
                line.head_s = self._made_s - FRAME_S
            self.frozen = False

    def _tick(self, t_s: float) -> Entry:
        events = self._answer(t_s) + self.clinic.told(self._own)
        live, revisions, frame_ms = list[Samples](), list[Samples](), 0
        if t_s - self._frame_s >= FRAME_S + ARRIVAL_S:
            self._frame_s += FRAME_S
            frame_ms = int(self._frame_s * 1000)
            for channel, line in self._lines.items():
                if not self._is_out(channel):
                    live += self._measured(channel, line, revisions, events)
        for channel, line in self._lines.items():
            if self._is_out(channel):
                live += self._gap(channel, line, t_s, events)
        frame = encode_wire(FrameKind.LIVE, t_s, live) if live else b""
        revision = encode_wire(FrameKind.REVISION, t_s, revisions) if revisions else b""
        return Entry(f"{int(t_s * 1000)}-0", frame, revision, self._status(t_s), events, frame_ms)

    def _is_out(self, channel: str) -> bool:
        return any(channel.startswith(signal) for signal in self.unplugged)

    def _measured(self, channel: str, line: Line, revisions: list[Samples], events: list[Any]) -> list[Samples]:
        if line.gap_open:
            times = _grid(line.gap_from_s or line.head_s, self._frame_s - FRAME_S, PERIODS[channel])
            revisions += [_revised(channel, times)] if len(times) else []
            events.append(
                _event(self._made_s, "gap-closed", "info", f"{_label(channel)}: measured again; revised", channel)
            )
            self.clinic.end_alarm(self._own, f"silent:{channel}")
        line.gap_open, line.gap_from_s = False, None
        start_s, line.head_s = max(line.head_s, self._frame_s - FRAME_S), self._frame_s
        times = _grid(start_s, self._frame_s, PERIODS[channel])
        if not len(times):
            return []
        values = _truth(channel, times)
        kind = Provenance.QUARANTINED if channel in self.distrusted else Provenance.MEASURED
        spread = _spread(channel, np.full(len(times), 3.0)) if channel in self.distrusted else 0.0
        if channel in self.distrusted:
            values = values + 4 * _spread(channel, np.full(len(times), 8.0)) * np.sign(np.sin(times / 3e5))
        confidence = np.full(len(times), 0.4 if channel in self.distrusted else 1.0)
        calm = _truth(channel, times)
        bounds = (calm - spread, calm + spread) if channel in self.distrusted else (values, values)
        return [Samples(channel, times, values, *bounds, confidence, np.full(len(times), kind, np.uint8))]

    def _gap(self, channel: str, line: Line, t_s: float, events: list[Any]) -> list[Samples]:
        if line.gap_from_s is None:
            line.gap_from_s = line.head_s
        if t_s - line.gap_from_s < GAP_S:
            return []
        if not line.gap_open:
            line.gap_open = True
            text = f"{_label(channel)}: no reading for {GAP_S:.1f} s; the twin shows its estimate"
            events.append(_event(t_s, "gap-opened", "warning", text, channel))
            silent = f"{_label(channel)}: sensor silent"
            self.clinic.raise_alarm(self._own, "silent", channel, 2, silent, since_s=line.gap_from_s)
        times = _grid(line.head_s, t_s - GAP_S + 0.5, PERIODS[channel])
        if not len(times):
            return []
        made = self._synthesised(channel, times, line.gap_from_s)
        before = self._confidence(line.head_s - line.gap_from_s) >= FLOOR
        if before and made.provenance[-1] == Provenance.WITHHELD:
            text = f"{_label(channel)}: too unsure for an honest value; withheld"
            events.append(_event(t_s, "withheld", "warning", text, channel))
        line.head_s = times[-1] / 1e6 + PERIODS[channel] / 2
        return [made]

    def _synthesised(self, channel: str, times: Any, gap_from_s: float) -> Samples:
        age_s = times / 1e6 - gap_from_s
        level = float(np.median(_truth(channel, _grid(gap_from_s - 6, gap_from_s, PERIODS[channel]))))
        pull = np.exp(-age_s / 3)
        values = _truth(channel, times) * pull + (0.35 * _truth(channel, times + 7_000_000) + 0.65 * level) * (1 - pull)
        spread = _spread(channel, age_s)
        confidence = self._confidence(age_s)
        shown = confidence >= FLOOR
        low = values - spread if channel_row(channel).signal.low < 0 else np.maximum(0, values - spread)
        kind = np.where(shown, int(Provenance.SYNTHESISED), int(Provenance.WITHHELD)).astype(np.uint8)
        blank = np.where(shown, 0.0, np.nan)
        return Samples(
            channel, times, values + blank, low + blank, values + spread + blank, confidence * shown, kind, "lstm-vae"
        )

    def _confidence(self, age_s: Any) -> Any:
        return 0.93 * np.exp(-np.maximum(age_s, 0) / self.decay_s)

    def _answer(self, t_s: float) -> list[dict[str, Any]]:
        due = [a for a in self._answers if a[0] <= t_s]
        self._answers = [a for a in self._answers if a[0] > t_s]
        events = []
        for _, name, payload in due:
            if name == "sensor":
                (self.unplugged.discard if payload["connected"] else self.unplugged.add)(payload["signal"])
                verb = "plugged in" if payload["connected"] else "unplugged"
                text = f"{self.card.device} confirms: {payload['signal']} {verb}"
                events.append(_event(t_s, "command", "info", text) | {"facts": {"command": name}})
            elif name == "tamper":
                self._refused += 1
                text = "forged: expected a message sealed by sim-01, got a tag that does not fit; nothing was stored"
                events.append(_event(t_s, "refused", "alarm", text))
            else:
                facts = {"device": self.card.device, "command": name, "status": "200"}
                events.append(_event(t_s, "command", "info", f"{self.card.device} confirms: {name}") | {"facts": facts})
        return events

    def _status(self, t_s: float) -> dict[str, Any]:
        channels = {c: self._channel_status(c, line, t_s) for c, line in self._lines.items()}
        unplugged = sorted(c for c in PERIODS if self._is_out(c))
        device = {
            "source": self.source, "label": "simulated adult at rest", "epoch": 3,
            "last_frame_s": self._frame_s, "unplugged": unplugged,
        }  # fmt: skip
        counters = {"stored": int(t_s) % 100_000, "refused": self._refused, "duplicates": 0}
        devices = {self.card.device: device} if self.card.device else {}
        return {"t": t_s, "patient": self.card.id, "devices": devices, "view_lag_s": VIEW_LAG_S, "counters": counters,
                "channels": channels, **self.clinic.status(self._own)}  # fmt: skip

    def _channel_status(self, channel: str, line: Line, t_s: float) -> dict[str, Any]:
        row = channel_row(channel)
        confidence = float(self._confidence(t_s - (line.gap_from_s or t_s)))
        word = "measured"
        if line.gap_open:
            word = "synthesised" if confidence >= FLOOR else "withheld"
        elif channel in self.distrusted:
            word = "quarantined"
        return {
            "label": row.label, "signal": row.signal.id, "unit": row.signal.unit, "kind": row.signal.kind.value,
            "region": row.region, "period_s": PERIODS[channel], "provenance": word,
            "method": "lstm-vae" if row.signal.kind != "level" or channel == "gsr_uS" else "locf",
            "learning": row.region == "room", "scored": 120, "confidence": confidence,
            "value": None if word == "withheld" else _now(channel, t_s if line.gap_open else self._frame_s),
            "since_s": line.gap_from_s if line.gap_open else t_s - 60, "last_reading_s": line.gap_from_s or line.head_s,
        }  # fmt: skip

    @staticmethod
    def _tick_of(t_s: float) -> float:
        return float(np.floor(t_s / TICK_S) * TICK_S)


def _now(channel: str, t_s: float) -> float:
    return float(_truth(channel, np.array([int(t_s * 1e6)]))[0])


def _within(entries: list[Entry], after: str, to_ms: int) -> list[Entry]:
    return [e for e in entries if _key(after) < _key(e.id) <= (to_ms, 0)]


def _key(entry_id: str) -> tuple[int, ...]:
    return tuple(int(part) for part in entry_id.split("-"))


def _grid(from_s: float, to_s: float, period_s: float) -> Any:
    """Whole multiples of the period in [from, to), µs."""
    step = round(period_s * 1e6)
    return np.arange(-(-round(from_s * 1e6) // step), -(-round(to_s * 1e6) // step), dtype=np.int64) * step


def _event(t_s: float, kind: str, severity: str, text: str, channel: str = "") -> dict[str, Any]:
    return {"t": t_s, "kind": kind, "severity": severity, "text": text, "channel": channel}


def _label(channel: str) -> str:
    return channel_row(channel).label


def _revised(channel: str, times: Any) -> Samples:
    truth, n = _truth(channel, times), len(times)
    spread = _spread(channel, np.full(n, 2.0))
    kind = np.full(n, Provenance.SYNTHESISED | REVISED, np.uint8)
    return Samples(channel, times, truth, truth - spread, truth + spread, np.full(n, 0.9), kind, "lstm-vae")


def _spread(channel: str, age_s: Any) -> Any:
    size = {"emg_activity_mV": 4e-4, "emg_raw_mV": 0.012, "gsr_uS": 0.06, "room_temp_C": 0.2, "room_rh_pct": 1.0}
    return size[channel.split(".")[0]] * (0.5 + np.sqrt(age_s) * 0.35)


def _truth(channel: str, times_us: Any) -> Any:
    """What the sensor reports at these times (µs): a function of time, so that every part of the fake agrees."""
    t = times_us / 1e6 % 86_400
    signal, _, part = channel.partition(".")
    if signal.startswith("emg"):
        shift = {"zyg": 0.0, "corr": 2.3}[part]
        bursts = sum(np.exp(-(((t + shift + k) % 7.1 - 3) ** 2) / 0.35) * a for k, a in ((0, 1.0), (2.6, 0.45)))
        tremble = 0.5 + 0.5 * np.sin(t * 11 + shift) * np.sin(t * 3.7) ** 2
        envelope = 2.2e-4 + 1.9e-3 * bursts * (0.75 + 0.25 * tremble) + 6e-5 * np.sin(t * 5.3 + shift)
        if signal == "emg_activity_mV":
            return np.round(envelope, 6)
        noise = _noise(times_us, 17 if part == "zyg" else 29)
        return np.round(noise * (0.004 + 14 * envelope) + 0.003 * np.sin(t * 31.4), 5)
    if signal == "gsr_uS":
        rises = sum(((t + k) % 19) * np.exp(-((t + k) % 19) / 2.2) * a for k, a in ((0, 0.22), (11, 0.13)))
        return np.round(4.7 + 0.25 * np.sin(t / 41) + rises, 3)
    if signal == "room_temp_C":
        return np.round(22.6 + 0.3 * np.sin(t / 70), 1)
    return np.round(43 + 1.4 * np.sin(t / 55))


def _noise(times_us: Any, seed: int) -> Any:
    """Repeatable white noise of unit variance, by hashing the time."""
    x = np.sin((times_us // 1000 % 1_000_003) * (12.9898 + seed)) * 43758.5453
    y = np.sin((times_us // 1000 % 999_983) * (78.233 + seed)) * 24634.6345
    u, v = np.clip(x - np.floor(x), 1e-6, 1), y - np.floor(y)
    return np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)
