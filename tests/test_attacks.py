"""Whatever is done to a message on its way, nothing of it counts; and whatever is honest, counts."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import hostile
from benchmarks.attacks import ATTACKS, run
from device.frame import FrameError
from device.orders import Orders
from security import commands, envelope
from security.errors import Rejected
from security.replay import IntervalSet
from security.session import Opener
from security.suite import STRONGEST_FIRST
from tests.gate_kit import Desk

each_suite = pytest.mark.parametrize("name", STRONGEST_FIRST)


def test_every_kind_of_attack_is_caught_and_no_honest_message_is_refused() -> None:
    result = run(3000, seed=7)
    assert set(result.trials) == set(ATTACKS) and sum(result.trials.values()) == 3000
    assert not +result.missed and result.caught == 3000
    assert (result.honest, result.false_rejects) == (3000, 0)


@pytest.mark.parametrize(
    "broken, shown_by",
    [
        ("no memory of numbers", {"replay", "duplicate", "reorder", "replayed opening"}),
        ("no signature", {"tampered opening"}),
        ("no proof of a message", {"forged", "tampered", "true number"}),
        ("refuses every tenth", {"false rejects"}),
        ("no proof of a command", {"forged command", "altered command", "other's command"}),
        ("no proof of an answer", {"invented answer", "swapped answer"}),
        ("no memory of commands", {"repeated command", "reordered command"}),
        ("no clock for commands", {"delayed command"}),
        ("keeps commands of old keys", {"command of before"}),
    ],
)
def test_the_trials_show_a_gate_that_is_broken(
    broken: str, shown_by: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    true_open = Opener.open
    last = dict[bytes, bytes]()

    def unproven(self: Opener, body: bytes) -> tuple[int, bytes]:
        try:
            seq, last[self.sid] = true_open(self, body)
        except Rejected:
            if body[:10] != self._prefix or self.sid not in last:
                raise
            return int.from_bytes(body[10:14], "big") % 2**20, last[self.sid]
        return seq, last[self.sid]

    def unwilling(self: Opener, body: bytes) -> tuple[int, bytes]:
        seq, plain = true_open(self, body)
        if seq % 10 == 9:
            raise Rejected("forged", "a", "b", "c")
        return seq, plain

    match broken:
        case "no memory of numbers":
            monkeypatch.setattr(IntervalSet, "__contains__", lambda self, number: False)
        case "no signature":
            monkeypatch.setattr(envelope, "_verify", lambda key, signature, unsigned: None)
        case "no proof of a message":
            monkeypatch.setattr(Opener, "open", unproven)
        case "no proof of a command":
            monkeypatch.setattr(commands, "_command_mac", lambda command, key: command.mac or bytes(32))
        case "no proof of an answer":
            monkeypatch.setattr(commands, "_answer_mac", lambda command, status, body, key: bytes(32))
            monkeypatch.setattr(commands, "_hex", lambda text, count: bytes(32) if count == 32 else bytes.fromhex(text))
        case "no memory of commands":
            monkeypatch.setattr(Orders, "_take_number", lambda self, session, command: None)
        case "no clock for commands":
            monkeypatch.setattr(Orders, "_need_fresh", lambda self, command, uptime_ms: None)
        case "keeps commands of old keys":
            monkeypatch.setattr(Orders, "forget", lambda self: None)
        case _:
            monkeypatch.setattr(Opener, "open", unwilling)
    result = run(1000 if "command" in broken or "answer" in broken else 3000, seed=7)
    found = {name for name, count in result.missed.items() if count} | (
        {"false rejects"} & {"false rejects" if result.false_rejects else ""}
    )
    assert shown_by <= found


@each_suite
def test_every_flipped_bit_of_an_envelope_of_any_suite_counts_nothing(name: str) -> None:
    desk = Desk()
    record, sealer = desk.open(suites=(name,))
    desk.take(record)
    true = desk.frame(sealer)
    for bit in range(8 * len(true)):
        _count_nothing(desk, _flipped(true, bit))
    assert desk.take(true) is not None


@each_suite
@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # of a certificate with a flipped bit
def test_every_flipped_bit_of_an_open_record_of_any_suite_opens_nothing(name: str) -> None:
    desk = Desk()
    record, sealer = desk.open(suites=(name,))
    true = desk.frame(sealer)
    for bit in range(8 * len(record)):
        desk.steady_s += 1
        with pytest.raises((Rejected, FrameError)):
            desk.take(_flipped(record, bit))
    _count_nothing(desk, true)
    desk.steady_s += 1
    assert desk.take(record) is None
    assert desk.take(true) is not None


@each_suite
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_messages_in_any_order_and_number_of_copies_count_once_each(name: str, data: Any) -> None:
    desk = Desk()
    record, sealer = desk.open(suites=(name,))
    desk.take(record)
    true = [desk.frame(sealer) for _ in range(8)]
    order = data.draw(st.lists(st.sampled_from(range(8)), max_size=30))
    counted = [found.seq for n in order if (found := desk.take(true[n])) is not None]
    assert sorted(counted) == sorted(set(order))


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=400), name=st.sampled_from(STRONGEST_FIRST), keep=st.integers(0, 14))
def test_random_bytes_after_the_beginning_of_a_true_message_count_nothing(data: bytes, name: str, keep: int) -> None:
    desk = Desk()
    record, sealer = desk.open(suites=(name,))
    desk.take(record)
    _count_nothing(desk, desk.frame(sealer)[:keep] + data)


def test_what_a_hostile_open_record_costs_grows_with_how_true_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostile, "CALLS", 20)
    cost = hostile.rows(hostile.Bench(tmp_path))
    cheap = max(cost["one too many of this device"], cost["honest, sent again"])
    assert cheap < cost["a certificate of another CA"]
    assert cheap < cost["a true chain, known, and a wrong signature"] < cost["honest, suite C"]


def _flipped(body: bytes, bit: int) -> bytes:
    altered = bytearray(body)
    altered[bit // 8] ^= 1 << bit % 8
    return bytes(altered)


def _count_nothing(desk: Desk, body: bytes) -> None:
    with suppress(Rejected, FrameError):
        assert desk.take(body) is None
