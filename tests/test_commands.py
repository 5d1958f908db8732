"""A device does what the engine told it, once and at once; whoever else tells it something, or holds it back, fails."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.orders import KEPT_SESSIONS, MAX_LIFE_MS, QUIET_MS, Heard, NotBelieved, Orders
from security.commands import DESIRED, MAX_ANSWER_BYTES, METHOD, Command, check_answer, check_command, named_session
from security.envelope import Lane, Opener, Sealer, accept_open_record
from security.errors import Rejected, SecurityError
from security.suite import STRONGEST_FIRST
from tests.gate_kit import NOW_MS, Desk

LIFE_MS = 30_000
UNPLUG = {"signal": "emg", "connected": False}
each_suite = pytest.mark.parametrize("suite", STRONGEST_FIRST)


class Pair:
    """A device's ear and the engine's end of its sessions. Two seconds a frame."""

    def __init__(self, suite: str = "A") -> None:
        self.desk, self.orders, self.suite = Desk(), Orders(), suite
        self.uptime_ms, self.number = 0, -1
        self.sealer, self.opener = self.open()

    def open(self, lane: Lane = Lane.LIVE) -> tuple[Sealer, Opener]:
        record, sealer = self.desk.open(lane, suites=(self.suite,))
        opener = accept_open_record(
            record, trust=self.desk.people.ca.trust, recipient_key=self.desk.keys.get, hub_device_id="esp32-01",
            now_ms=NOW_MS,
        )  # fmt: skip
        self.orders.opened(sealer, self.uptime_ms)
        return sealer, opener

    def seal(self, count: int = 1, sealer: Sealer | None = None) -> None:
        sealer = sealer or self.sealer
        for _ in range(count):
            self.uptime_ms += 2000
            self.orders.sealed(sealer.sid, sealer.next_seq, self.uptime_ms)
            sealer.seal(b"")

    def tell(self, name: str = "sensor", payload: dict[str, object] | None = None, **changes: Any) -> dict[str, Any]:
        """What the engine sends now, having proven all that was sealed."""
        return self.ask(name, payload, **changes)[1]

    def ask(
        self, name: str = "sensor", payload: dict[str, object] | None = None, **changes: Any
    ) -> tuple[Command, dict[str, Any]]:
        self.number += 1
        body = json.dumps(UNPLUG if payload is None else payload)
        after = self.sealer.next_seq - 1
        wanted = Command(self.opener.sid, "esp32-01", METHOD, name, self.number, after, NOW_MS, NOW_MS + LIFE_MS, body)
        return self.opener.make_command(replace(wanted, **changes))

    def hear(self, data: object, name: str = "sensor", kind: str = METHOD) -> Heard:
        return self.orders.hear(kind, name, data, self.uptime_ms)

    def refuses(self, data: object, name: str = "sensor", kind: str = METHOD) -> tuple[int, str]:
        with pytest.raises(NotBelieved) as caught:
            self.hear(data, name, kind)
        return caught.value.status, caught.value.reason


@each_suite
def test_a_true_command_is_heard_and_its_answer_is_proven(suite: str) -> None:
    pair = Pair(suite)
    pair.seal(3)
    command, sent = pair.ask()
    heard = pair.hear(json.loads(json.dumps(sent)))
    assert heard.payload == UNPLUG
    answer = json.loads(json.dumps(heard.answer(200, {"connected": False})))
    assert pair.opener.check_answer(answer, 200, command) == {"connected": False}


@each_suite
def test_every_altered_field_of_a_command_is_refused_and_the_true_one_still_counts(suite: str) -> None:
    pair = Pair(suite)
    pair.seal(3)
    true = pair.tell()
    altered: dict[str, Any] = {
        "n": true["n"] + 1, "after": true["after"] - 1, "issued_ms": true["issued_ms"] + 1,
        "expires_ms": true["expires_ms"] + 1, "body": json.dumps({"signal": "gsr", "connected": False}),
        "mac": true["mac"][:-1] + ("0" if true["mac"][-1] != "0" else "1"),
    }  # fmt: skip
    for name, value in altered.items():
        assert pair.refuses(true | {name: value}) == (401, "forged")
    assert pair.refuses(true, name="tamper") == (401, "forged")
    assert pair.refuses(true, kind=DESIRED) == (401, "forged")
    assert pair.hear(true).payload == UNPLUG


@pytest.mark.parametrize(
    "change",
    [
        {"mac": None}, {"mac": "zz" * 32}, {"mac": "A" * 64}, {"n": "0"}, {"n": True}, {"n": -1}, {"n": 2**31},
        {"after": 0.0}, {"after": 2**20}, {"body": {}}, {"body": "\ud800"}, {"body": "x" * 2000}, {"body": ""},
        {"issued_ms": 2**60}, {"expires_ms": 0}, {"sid": "00"}, {"sid": 5}, {"more": 1},
    ],
)  # fmt: skip
def test_what_is_no_command_is_refused_in_words(change: dict[str, Any]) -> None:
    pair = Pair()
    status, reason = pair.refuses(pair.tell() | change)
    assert (status, reason) == (401, "malformed")
    for other in (None, 5, [], "sensor", {}, UNPLUG):
        assert pair.refuses(other) == (401, "malformed")


@each_suite
def test_a_command_counts_once_and_never_after_a_later_one(suite: str) -> None:
    pair = Pair(suite)
    pair.seal(2)
    (first, one), (_, two), (_, three) = pair.ask(), pair.ask(), pair.ask()
    pair.hear(one).answer(200, {"did": 1})
    with pytest.raises(NotBelieved) as again:
        pair.hear(one)
    assert again.value.status == 409
    proven = pair.opener.check_answer(again.value.said, 409, first)
    assert (proven["was"], proven["said"]) == (200, {"did": 1}), "what was answered then is not lost"
    pair.hear(three)
    assert [pair.refuses(late) for late in (one, two, three)] == [(409, "replayed")] * 3


def test_a_number_is_taken_though_its_command_came_late() -> None:
    pair = Pair()
    pair.seal(2)
    sent = pair.tell()
    pair.seal(40)
    assert [pair.refuses(sent) for _ in range(2)] == [(410, "stale"), (409, "replayed")]


@pytest.mark.parametrize("suite", STRONGEST_FIRST)
def test_a_command_of_another_device_or_session_is_refused(suite: str) -> None:
    pair, stranger = Pair(suite), Pair(suite)
    foreign = stranger.tell()
    assert pair.refuses(foreign) == (410, "unknown-session")
    assert pair.refuses(foreign | {"sid": pair.sealer.sid.hex()}) == (401, "forged")
    backfill, _ = pair.open(Lane.BACKFILL)
    assert pair.refuses(pair.tell() | {"sid": backfill.sid.hex()}) == (401, "forged")
    other_device = pair.tell(device="esp32-02")
    assert pair.refuses(other_device) == (401, "forged")


def test_keys_of_receipts_commands_answers_and_readings_are_different_ones() -> None:
    pair = Pair()
    keys = pair.opener._keys
    assert len({keys.receipt_key, keys.command_key, keys.answer_key}) == 3
    command, sent = pair.ask()
    sid = pair.opener.sid
    for key in (keys.receipt_key, keys.answer_key):
        with pytest.raises(Rejected):
            check_command(sent, METHOD, command.name, "esp32-01", sid, key)
    assert check_command(sent, METHOD, command.name, "esp32-01", sid, keys.command_key) == command


# ------------------------------------------------------------------------------------------------------ late ones


def test_a_command_lives_as_long_as_it_says_by_the_device_s_own_uptime() -> None:
    pair = Pair()
    pair.seal(5)
    in_time, late = pair.tell(), pair.tell()
    pair.seal(1)  # the first message that the engine had not seen: from here on it counts
    pair.uptime_ms += LIFE_MS
    pair.hear(in_time)
    pair.uptime_ms += 1
    assert pair.refuses(late) == (410, "stale")


def test_a_device_that_seals_seldom_still_hears_commands_between_two_frames() -> None:
    pair = Pair()
    pair.seal(1)
    pair.uptime_ms += 59_000
    assert pair.hear(pair.tell()).payload == UNPLUG


def test_a_command_held_back_while_the_line_is_cut_is_late_though_the_live_lane_stood_still() -> None:
    pair = Pair()
    backfill, _ = pair.open(Lane.BACKFILL)
    pair.seal(3)
    held = pair.tell()
    pair.seal(20, backfill)  # 40 s without a line
    assert pair.refuses(held) == (410, "stale")


def test_a_command_held_back_is_late_though_the_device_can_seal_nothing_any_more() -> None:
    pair = Pair()
    pair.seal(3)
    held = pair.tell()
    pair.uptime_ms += LIFE_MS + QUIET_MS + 1
    assert pair.refuses(held) == (410, "stale")


def test_messages_held_back_on_their_way_up_make_a_command_no_fresher() -> None:
    pair = Pair()
    pair.seal(40)
    assert pair.refuses(pair.tell(after=3)) == (410, "stale")
    assert pair.refuses(pair.tell(after=40)) == (410, "stale"), "of a message that was never sealed"


def test_no_command_lives_longer_than_a_minute_whatever_it_says() -> None:
    pair = Pair()
    pair.seal(2)
    long = pair.tell(expires_ms=NOW_MS + 3_600_000)
    pair.seal(1)
    pair.uptime_ms += MAX_LIFE_MS + 1
    assert pair.refuses(long) == (410, "stale")


def test_the_engine_s_clock_may_be_wrong_by_years() -> None:
    pair = Pair()
    pair.seal(1)
    assert pair.hear(pair.tell(issued_ms=5, expires_ms=5 + LIFE_MS)).payload == UNPLUG


def test_what_is_remembered_of_seals_is_bounded() -> None:
    pair = Pair()
    for number in range(20_000):
        pair.uptime_ms += 1
        pair.orders.sealed(pair.sealer.sid, number, pair.uptime_ms)
    assert len(pair.orders._seals) <= 8192
    pair.uptime_ms += 10_000_000
    pair.orders.sealed(pair.sealer.sid, 20_000, pair.uptime_ms)
    assert len(pair.orders._seals) == 1


# -------------------------------------------------------------------------------------- sessions that come and go


def test_a_change_of_session_may_cross_a_command_and_an_older_one_may_not() -> None:
    pair = Pair()
    pair.seal(2)
    crossing, older = pair.tell(), pair.tell()
    pair.open()
    assert pair.hear(crossing).payload == UNPLUG
    for _ in range(KEPT_SESSIONS - 1):
        pair.open()
    assert pair.refuses(older) == (410, "unknown-session")
    assert len(pair.orders._sessions) == KEPT_SESSIONS


def test_after_another_recipient_key_nobody_commands_by_an_older_one() -> None:
    pair = Pair()
    pair.seal(2)
    before = pair.tell()
    pair.orders.forget()
    assert pair.refuses(before) == (410, "unknown-session")
    pair.open()
    assert pair.refuses(before) == (410, "unknown-session")


def test_a_setting_stays_true_as_long_as_its_session_and_the_newest_wins() -> None:
    pair = Pair()
    pair.seal(2)
    old, new = (pair.tell("frame_interval", {"seconds": n}, kind=DESIRED) for n in (1, 10))
    pair.hear(pair.tell())
    pair.seal(100)  # the device was away for minutes
    assert pair.hear(new, "frame_interval", DESIRED).payload == {"seconds": 10}, "methods have numbers of their own"
    assert pair.refuses(old, "frame_interval", DESIRED) == (409, "replayed")
    assert pair.refuses(new, "frame_interval", METHOD) == (401, "forged")


# --------------------------------------------------------------------------------------------------------- answers


@each_suite
def test_an_answer_that_was_invented_altered_or_swapped_counts_nothing(suite: str) -> None:
    pair = Pair(suite)
    pair.seal(2)
    (one, sent_one), (two, sent_two) = pair.ask(), pair.ask(payload={"signal": "gsr", "connected": False})
    said_one = pair.hear(sent_one).answer(200, {"channels": ["emg"]})
    said_two = pair.hear(sent_two).answer(400, {"error": "no"})
    invented = {"sid": said_one["sid"], "n": one.number, "body": '{"channels": ["gsr"]}', "mac": "00" * 32}
    attacks: list[tuple[object, object, Command]] = [
        (invented, 200, one), (said_one, 200, two), (said_two, 400, one), (said_two, 200, two),
        (said_one | {"body": invented["body"]}, 200, one), (said_one | {"n": two.number}, 200, two),
        (said_one, 200, replace(one, mac=two.mac)), (said_one | {"more": 1}, 200, one), ({}, 404, one),
        (None, 504, one), (said_one, "200", one), (said_one | {"sid": "00" * 8}, 200, one),
    ]  # fmt: skip
    for said, status, asked in attacks:
        with pytest.raises(Rejected):
            pair.opener.check_answer(said, status, asked)
    assert pair.opener.check_answer(said_one, 200, one) == {"channels": ["emg"]}
    assert pair.opener.check_answer(said_two, 400, two) == {"error": "no"}


def test_an_answer_too_long_to_be_believed_is_not_made() -> None:
    pair = Pair()
    pair.seal(1)
    heard = pair.hear(pair.tell())
    with pytest.raises(SecurityError, match="at most"):
        heard.answer(200, {"error": "x" * MAX_ANSWER_BYTES})


def test_a_command_that_no_device_would_take_is_not_made() -> None:
    pair = Pair()
    for change in ({"body": "x" * 2000}, {"name": ""}, {"kind": "receipt"}, {"expires_ms": NOW_MS}, {"number": -1}):
        with pytest.raises(SecurityError):
            pair.tell(**change)


_FIELDS = st.sampled_from(["sid", "n", "after", "issued_ms", "expires_ms", "body", "mac"])
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(_FIELDS | st.text(), inner, max_size=7)


@settings(max_examples=200, deadline=None)
@given(value=st.recursive(_LEAVES, _nested, max_leaves=12))
def test_whatever_comes_as_a_command_or_an_answer_is_refused_without_a_fault(value: object) -> None:
    pair = _pair()
    assert pair.refuses(value)[0] in (401, 410)
    assert named_session(value) is None or isinstance(value, dict)
    with pytest.raises(Rejected):
        pair.opener.check_answer(value, 200, _asked())


_kept: list[Any] = []


def _pair() -> Pair:
    if not _kept:
        pair = Pair()
        _kept.extend([pair, pair.ask()[0]])
    kept: Pair = _kept[0]
    return kept


def _asked() -> Command:
    command: Command = _kept[1]
    return command


def test_no_flipped_bit_of_a_command_is_heard() -> None:
    pair = Pair()
    pair.seal(1)
    text = json.dumps(pair.tell()).encode()
    heard = 0
    for bit in range(8 * len(text)):
        altered = bytearray(text)
        altered[bit // 8] ^= 1 << bit % 8
        heard += _heard(pair, bytes(altered), json.loads)
    assert heard == 0
    assert _heard(pair, text, json.loads) == 1


def _heard(pair: Pair, text: bytes, read: Callable[[bytes], object]) -> int:
    try:
        pair.hear(read(text))
    except (ValueError, NotBelieved):
        return 0
    return 1


# ------------------------------------------------------------------------------------ as somebody else would write it


def example(kind: str) -> dict[str, Any]:
    text = (Path(__file__).parent.parent / "ARCHITECTURE.md").read_text()
    found: dict[str, Any] = json.loads(text.split(f"```json {kind}\n", 1)[1].split("```", 1)[0])
    return found


def test_the_examples_in_the_handbook_are_true_to_the_letter() -> None:
    command_key, answer_key = bytes(range(32)), bytes(range(32, 64))
    told, said = example("command"), example("answer")
    sid = bytes.fromhex(told["sid"])
    fields = [
        sid,
        "esp32-01",
        "method",
        "sensor",
        *(told[name] for name in ("n", "after", "issued_ms", "expires_ms", "body")),
    ]
    mac = hmac.digest(command_key, b"everbeat/1 command|" + cbor2.dumps(fields, canonical=True), "sha256")
    assert mac.hex() == told["mac"]
    answered = [sid, "esp32-01", "method", "sensor", told["n"], mac, 200, said["body"]]
    assert (
        hmac.digest(answer_key, b"everbeat/1 answer|" + cbor2.dumps(answered, canonical=True), "sha256").hex()
        == said["mac"]
    )
    command = check_command(told, METHOD, "sensor", "esp32-01", sid, command_key)
    assert check_answer(said, 200, command, answer_key)["connected"] is False


@each_suite
def test_keys_come_from_the_secret_by_their_own_labels(suite: str) -> None:
    pair = Pair(suite)
    context, keys = pair.opener._context, pair.opener._keys
    prk = hmac.digest(bytes(32), pair.opener._secret, "sha256")  # RFC 5869, without a salt
    for direction, key in (("command", keys.command_key), ("answer", keys.answer_key), ("receipt", keys.receipt_key)):
        label = f"everbeat/1|{suite}|{context.device}|{context.epoch}|{context.sid.hex()}|{direction}"
        assert hmac.digest(prk, label.encode() + b"\x01", "sha256") == key
