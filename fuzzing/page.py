"""Targets at the page: what a socket says (Socket.IO packets, acts) and what an address asks for."""

from __future__ import annotations

import json
import time
from typing import Any, cast
from urllib.parse import parse_qsl

from engineio.packet import Packet as EnginePacket
from socketio.packet import Packet as SocketPacket

from fuzzing.targets import Run
from twin_engine.registry import PatientCard
from web.acts import RATE, Acts
from web.asked import MAX_POINTS, MAX_SPAN_S, Refused, asked
from web.fields import KINDS, Wrong, check
from web.words import words

CARDS = {
    "p-1": PatientCard("p-1", "KESTREL-17", 1968, "Bed 4", "sim-01", "female", 168.0, 64.0),
    "p-2": PatientCard("p-2", "STORK-11", 1950, "Bed 5", "sim-02", "male", 181.0, 80.0),
}
Made = tuple[Run, list[bytes]]


class _Ward:
    """The relay's answers about two patients, and a feed that remembers only the last act."""

    def card(self, patient: str) -> PatientCard | None:
        return CARDS.get(patient)

    def cards(self) -> list[PatientCard]:
        return list(CARDS.values())

    def act(self, patient: str, kind: str, body: dict[str, Any], who: str) -> None:
        assert patient in CARDS
        assert kind in KINDS
        assert who == "somebody"
        assert len(json.dumps(body)) < 16_384, "an act of kilobytes went to the engine"


def sockets() -> Made:
    """A Socket.IO message, and what is in it handed to the acts: answered, never raised."""
    ward, translate, clock = _Ward(), words("en"), [0.0]

    def steady() -> float:
        clock[0] += 10.0 / RATE + 0.01  # as fast as a socket may speak
        return clock[0]

    acts = Acts(cast(Any, ward), cast(Any, ward), "somebody", steady)

    def run(data: bytes) -> None:
        value = _unpacked(data.decode(errors="replace"))
        answer = acts.hear("s", value, translate)
        assert answer.get("ok") is True or isinstance(answer.get("error"), str)
        if isinstance(value, dict):
            for kind in KINDS:
                try:
                    check(kind, value, 2026)
                except Wrong:
                    continue

    return run, [f'42/twin,["act",{json.dumps(act)}]'.encode() for act in _acts()]


def _unpacked(text: str) -> object:
    """The argument of the event in `text`; the libraries' own refusals are their servers' to handle."""
    try:
        packet = EnginePacket(encoded_packet=text)
        said = SocketPacket(encoded_packet=packet.data).data if isinstance(packet.data, str) else packet.data
    except (ValueError, TypeError, IndexError, AttributeError, RecursionError, KeyError):
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return None
    return said[1] if isinstance(said, list) and len(said) > 1 else said


def _acts() -> list[dict[str, Any]]:
    known = {"patient": "p-1", "number": "KESTREL-17"}
    bodies: dict[str, dict[str, Any]] = {
        "pause": {"seconds": 60}, "acknowledge": {"alarms": ["low:hr_bpm"]}, "discharge": {"confirm": "L-17"},
        "limits": {"signal": "hr_bpm", "low": 50, "high": 120, "delay_s": 5}, "assign": {"device": "sim-03"},
        "edit": {"pseudonym": "A", "birth_year": "1968", "sex": "female", "height_cm": "168,5", "weight_kg": 64},
        "unplug": {"signal": "gsr_uS"}, "exchange": {"new": "sim-04", "confirm": "L-17"},
    }  # fmt: skip
    kinds = {kind: bodies.get(kind, {}) for kind in KINDS} | {k: b for k, b in bodies.items() if k in KINDS}
    return [known | {"kind": kind, "body": body} for kind, body in kinds.items()]


def queries() -> Made:
    """A request for history: refused in words, or within its bounds."""
    now = int(time.time())

    def run(data: bytes) -> None:
        args = dict(parse_qsl(data.decode(errors="replace"), max_num_fields=None)[:50])
        for card in (CARDS["p-1"], None):
            try:
                found = asked(card, "p-1", args)
            except Refused as error:
                assert 400 <= error.status < 500
                continue
            assert 0 < found.span_s <= MAX_SPAN_S
            assert 0 <= found.points <= MAX_POINTS

    plain = f"from={now - 60}&to={now}&view=live&points=100&channels=gsr_uS,hr_bpm&zone=Europe/Berlin&number=KESTREL-17"
    return run, [plain.encode(), plain.replace("live", "best").encode()]
