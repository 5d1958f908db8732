"""Many patients without engine, Redis or device: one as rich as :class:`FakeFeed`, the others cheap to make.

A cheap patient has heart rate, oxygen, breath and skin temperature once a second, in frames of two seconds, and a
status with every tick. What shall be wrong with her is set from outside: `made`, `still`, `plugged_out`, alarms.
"""

from __future__ import annotations

import math
import random
import time
from collections import deque
from typing import Any

import numpy as np

from device.signals import channel as channel_row
from tests.fake_feed import CARD, FRAME_S, MINUTE_S, VIEW_LAG_S, FakeFeed
from twin_engine.messages import FrameKind, Samples, encode_wire
from twin_engine.registry import PatientCard
from twin_engine.store.feed import Entry

LEVELS = {"hr_bpm": (76, 9), "spo2_pct": (96.5, 1.5), "resp_rpm": (15, 2.5), "skin_temp_C": (35.2, 0.5)}
BIRDS = ("PLOVER", "HERON", "SISKIN", "AVOCET", "DUNLIN", "GARGANEY", "WHIMBREL", "ORIOLE", "LINNET", "MERLIN")
CODES = {"measured": 0, "synthesised": 1, "quarantined": 3, "withheld": 4}


class FakeWard(FakeFeed):
    """`n` patients; `tick_s`: how often each commits."""

    def __init__(self, n: int = 8, tick_s: float = 1.0, **rest: Any) -> None:
        super().__init__(card=CARD_OF_FIRST, **rest)
        if n == 0:
            self.clinic.cards.clear()
        self.made: dict[str, dict[str, tuple[str, float]]] = {}  # patient -> channel -> word, confidence
        self.still: set[str] = set()  # patients whose engine says nothing
        self.level: dict[str, dict[str, float]] = {}  # patient -> channel -> what its sensor reads around
        self.plugged_out: dict[str, list[str]] = {}
        self._tick_s = tick_s
        self._cheap: dict[str, deque[tuple[float, Entry]]] = {}
        self._next_s: dict[str, float] = {}
        for i in range(1, n):
            card = _card(i)
            self.clinic.cards[card.id] = card
            self._next_s[card.id] = math.floor(time.time()) - 60 + i % 4 * 0.25

    def patients(self) -> list[PatientCard]:
        self._check()
        return list(self.clinic.cards.values())

    def recent(self, patient: str, seconds: float) -> list[Entry]:
        if patient == self._own:
            return super().recent(patient, seconds)
        self._make_cheap(patient)
        return [entry for at_s, entry in self._cheap.get(patient, ()) if at_s >= time.time() - seconds]

    def follow(self, last: dict[str, str], block_ms: int) -> list[tuple[str, Entry]]:
        deadline = time.monotonic() + block_ms / 1000
        while True:
            new = super().follow(last, 0) if self._own in last else []
            for patient, after in last.items():
                if patient != self._own:
                    self._make_cheap(patient)
                    new += [(patient, e) for e in self._after(patient, int(after.partition("-")[0]))]
            if new or time.monotonic() > deadline:
                return new
            time.sleep(0.02)

    def _after(self, patient: str, after_ms: int) -> list[Entry]:
        found = []
        for at_s, entry in reversed(self._cheap.get(patient, ())):
            if round(at_s * 1000) <= after_ms:
                break
            found.append(entry)
        return found[::-1]

    def _make_cheap(self, patient: str) -> None:
        self._check()
        card = self.clinic.cards[patient]
        entries = self._cheap.setdefault(patient, deque(maxlen=int(MINUTE_S / self._tick_s)))
        now_s = time.time()
        next_s = self._next_s.setdefault(patient, math.floor(now_s))
        if self.frozen or patient in self.still:
            self._next_s[patient] = math.floor(now_s)
            return
        while next_s <= now_s:
            if card.present or self.clinic.events.get(patient):
                entries.append((next_s, self._entry(card, next_s)))
            next_s += self._tick_s
        self._next_s[patient] = next_s

    def _entry(self, card: PatientCard, t_s: float) -> Entry:
        closed = card.device and math.floor(t_s) % FRAME_S == 0 and t_s % 1 < self._tick_s
        frame = encode_wire(FrameKind.LIVE, t_s, self._frame(card.id, t_s)) if closed else b""
        events = self.clinic.told(card.id)
        return Entry(
            f"{round(t_s * 1000)}-0",
            frame,
            b"",
            self._cheap_status(card, t_s),
            events,
            int(t_s * 1000) if closed else 0,
        )

    def _frame(self, patient: str, t_s: float) -> list[Samples]:
        times = np.array([int((t_s - 2) * 1e6), int((t_s - 1) * 1e6)], np.int64)
        blocks = []
        for channel in LEVELS:
            word, sure = self.made.get(patient, {}).get(channel, ("measured", 1.0))
            values = np.array([self._value(patient, channel, t / 1e6) for t in times])
            values = values * np.nan if word == "withheld" else values
            kind = np.full(2, CODES[word], np.uint8)
            blocks.append(Samples(channel, times, values, values, values, np.full(2, sure), kind))
        return blocks

    def _value(self, patient: str, channel: str, t_s: float) -> float:
        read, level = value(patient, channel, t_s), self.level.get(patient, {}).get(channel)
        return read if level is None else round(level + 0.3 * (read - LEVELS[channel][0]), 1)

    def _cheap_status(self, card: PatientCard, t_s: float) -> dict[str, Any]:
        frame_s = math.floor(t_s / FRAME_S) * FRAME_S
        device = {"source": "recording" if sum(map(ord, card.device)) % 3 else "simulated", "last_frame_s": frame_s,
                  "unplugged": self.plugged_out.get(card.id, [])}  # fmt: skip
        channels = {c: self._cheap_channel(card.id, c, t_s) for c in LEVELS} if card.device else {}
        return {"t": t_s, "patient": card.id, "devices": {card.device: device} if card.device else {},
                "view_lag_s": VIEW_LAG_S, "frame_interval_s": FRAME_S, "counters": {"stored": int(t_s) % 100_000},
                "channels": channels, **self.clinic.status(card.id)}  # fmt: skip

    def _cheap_channel(self, patient: str, channel: str, t_s: float) -> dict[str, Any]:
        row = _row(channel)
        word, sure = self.made.get(patient, {}).get(channel, ("measured", 1.0))
        return row | {
            "provenance": word, "confidence": sure, "since_s": t_s - 60, "last_reading_s": t_s - 2,
            "value": None if word == "withheld" else self._value(patient, channel, t_s),
        }  # fmt: skip


def value(patient: str, channel: str, t_s: float) -> float:
    """What a cheap patient's sensor reads at that time: a function of time, so that every part agrees."""
    level, swing = LEVELS[channel]
    seed = sum(map(ord, patient)) * 0.37
    slow = math.sin(t_s / (23 + seed % 7) + seed) + 0.4 * math.sin(t_s / 4.1 + 2 * seed)
    read = level + swing * (1.3 * math.sin(seed) + 0.5 * slow)
    return round(min(100.0, read) if channel == "spo2_pct" else read, 1)


def _row(channel: str) -> dict[str, Any]:
    if channel not in _ROWS:
        row = channel_row(channel)
        _ROWS[channel] = {
            "label": row.label, "signal": row.signal.id, "unit": row.signal.unit, "kind": row.signal.kind.value,
            "region": row.region, "resolution": row.signal.resolution, "period_s": 1.0, "learning": False,
            "scored": 120, "method": "lstm-vae", "quality": {"verdict": "good", "reason": ""},
        }  # fmt: skip
    return _ROWS[channel]


_ROWS: dict[str, dict[str, Any]] = {}
CARD_OF_FIRST = PatientCard(
    CARD.id, CARD.pseudonym, CARD.birth_year, CARD.bed, CARD.device, CARD.sex, CARD.height_cm, CARD.weight_kg,
    "204117", admitted_ms=int(time.time() * 1000) - 26 * 3_600_000,
)  # fmt: skip


def _card(i: int) -> PatientCard:
    dice = random.Random(i)
    bird, sex = BIRDS[i % len(BIRDS)], dice.choice(("female", "male"))
    return PatientCard(
        id=f"p-{i:04d}",
        pseudonym=f"{bird}-{dice.randrange(10, 99)}",
        birth_year=dice.randrange(1931, 2004),
        bed=f"Bed {i + 4}",
        device=f"esp32-{i:03d}",
        sex=sex,
        height_cm=float(dice.randrange(152, 195)),
        weight_kg=float(dice.randrange(48, 104)),
        number=str(dice.randrange(100_000, 999_999)),
        admitted_ms=int(time.time() * 1000) - dice.randrange(2, 190) * 1_800_000,
    )
