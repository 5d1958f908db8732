"""Which sessions the engine takes, for how long, and how many: suites, ages, boots, rates."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.frame import Block, Source, quantise
from device.lanes import Lanes
from device.spool import Spool
from security import freshness, suite
from security.chains import REMEMBER_MS, ChainCache
from security.envelope import Lane, Recipient, accept_open_record, open_session, sign_recipient, verify_recipient
from security.errors import Rejected, SecurityError
from security.keys import RecipientKey, create_recipient_key, recipient_from_bytes, recipient_to_bytes
from security.rate import Buckets, TooMany
from tests.gate_kit import DAY_MS, DEVICE, HOUR_MS, MINUTE_MS, NOW_MS, Desk, people
from twin_engine.admission import OPENS_BURST

RECIPIENT = Desk().recipient


def refused(reason: str, action: Callable[[], object]) -> Rejected:
    with pytest.raises(Rejected) as caught:
        action()
    assert caught.value.reason == reason, str(caught.value)
    return caught.value


# ------------------------------------------------------------------------------------------------- negotiation


@pytest.mark.parametrize(
    "offered, able, chosen",
    [
        (("C", "A", "B"), ("C", "A", "B"), "C"),
        (("B", "A", "C"), ("B", "C", "A"), "C"),  # the order in which they are listed means nothing
        (("C", "A", "B"), ("A", "B"), "A"),
        (("C", "A", "B"), ("B",), "B"),
        (("B",), ("C", "A", "B"), "B"),
        (("Z", "A"), ("C", "A"), "A"),  # a later engine's suite
    ],
)
def test_a_device_takes_the_strongest_suite_that_both_speak(
    offered: tuple[str, ...], able: tuple[str, ...], chosen: str
) -> None:
    assert suite.choose(offered, able) == chosen


@pytest.mark.parametrize("name", suite.STRONGEST_FIRST)
def test_every_suite_brings_a_frame_through_the_gate_and_over_a_restart(name: str) -> None:
    desk = Desk()
    record, sealer = desk.open(suites=(name,))
    assert sealer.suite == name
    assert desk.take(record) is None
    first = desk.take(desk.frame(sealer))
    assert first is not None and first.session.opener.suite == name
    desk.commit()
    desk.restart()
    second = desk.take(desk.frame(sealer))
    assert second is not None and second.seq == 1
    receipt = second.session.opener.make_receipt(1, (), NOW_MS)
    assert sealer.check_receipt(receipt).upto == 1


def test_a_device_that_finds_no_suite_it_can_do_seals_nothing() -> None:
    desk = Desk(offered=("C",))
    refused("unknown-suite", lambda: desk.open(suites=("A", "B")))


def test_a_recipient_of_before_there_was_a_choice_means_suite_a() -> None:
    desk = Desk()
    desk.recipient = desk.recipient_of(())
    assert "suites" not in desk.recipient.to_json()
    record, sealer = desk.open()
    assert sealer.suite == "A"
    desk.take(record)
    refused("unknown-suite", lambda: desk.open(suites=("C",)))


def _stripped(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in ("suites", "xwing_key")}


@pytest.mark.parametrize(
    "attack",
    [
        _stripped,
        lambda data: {name: value for name, value in data.items() if name != "suites"},
        lambda data: data | {"suites": []},
        lambda data: data | {"suites": ["B"]},
        lambda data: data | {"suites": ["A", "B"]},
        lambda data: _stripped(data) | {"suites": ["A", "B"]},
        lambda data: data | {"suites": ["C", "B", "A"]},
        lambda data: data | {"suites": ["C", "A", "B", "Z"]},
        lambda data: data | {"xwing_key": "00" * 1216},
        lambda data: data | {"xwing_key": ""},
    ],
    ids=["stripped", "list gone", "empty", "cut to B", "cut", "cut and no key", "reordered", "added", "key", "no key"],
)  # fmt: skip
def test_a_list_of_suites_that_was_touched_is_refused_by_the_device(
    attack: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    desk = Desk()
    touched = Recipient.from_json(json.loads(json.dumps(attack(desk.recipient.to_json()))))
    refused("forged", lambda: verify_recipient(touched, people().ca.trust, NOW_MS, DEVICE))
    desk.recipient = touched
    refused("forged", lambda: desk.open())


def test_a_list_glued_to_a_record_without_one_is_refused() -> None:
    desk = Desk()
    old = desk.recipient_of(())
    refused("forged", lambda: verify_recipient(replace(old, suites=("B",)), people().ca.trust, NOW_MS))


@pytest.mark.parametrize("junk", [None, "A", ["A", "A"], [1], ["A" * 9], ["A"] * 9, [""], {"A": 1}])
def test_a_list_of_another_form_is_malformed(junk: object) -> None:
    data = Desk().recipient.to_json() | {"suites": junk}
    refused("malformed", lambda: Recipient.from_json(data))


def test_an_old_record_shown_again_does_not_replace_the_new_one_and_its_seal_is_below_a_strict_house() -> None:
    desk = Desk(suites=("C",))
    old = desk.recipient_of(("A", "B"), NOW_MS - HOUR_MS)  # signed by our engine while the house still took A
    assert not old.supersedes(desk.recipient)
    desk.recipient = old  # a device that lost its memory believes it
    record, sealer = desk.open()
    assert sealer.suite == "A"
    refused("weak-suite", lambda: desk.take(record))
    refused("unknown-session", lambda: desk.take(desk.frame(sealer)))


def test_a_house_takes_only_the_suites_it_allows_and_looks_at_no_certificate_of_others() -> None:
    desk = Desk(suites=("C", "A"))
    record, _ = desk.open(suites=("B",))
    refused("weak-suite", lambda: desk.take(record))
    assert desk.gate._admission.chains.misses == 0


def test_under_one_key_a_device_never_takes_a_weaker_suite_than_before() -> None:
    desk = Desk()
    for name in ("B", "A", "C"):  # upwards is free
        desk.take(desk.open(suites=(name,))[0])
    for name in ("A", "B"):
        record, _ = desk.open(suites=(name,))
        refused("weak-suite", lambda: desk.take(record))  # noqa: B023
    desk.commit()
    desk.restart()
    refused("weak-suite", lambda: desk.take(desk.open(suites=("A",))[0]))


def test_a_house_that_no_longer_takes_a_suite_does_not_hold_a_device_to_it() -> None:
    desk = Desk()
    desk.take(desk.open()[0])
    desk.commit()
    desk.suites = ("A", "B")
    desk.restart()
    assert desk.take(desk.open(suites=("A",))[0]) is None


def test_a_new_key_lets_a_board_with_other_firmware_begin_anew() -> None:
    desk = Desk()
    desk.take(desk.open()[0])
    desk.kid, desk.key = create_recipient_key()
    desk.keys[desk.kid] = desk.key
    desk.recipient = desk.recipient_of(("C", "A", "B"))
    assert desk.take(desk.open(suites=("B",))[0]) is None


def test_a_key_without_x_wing_opens_no_session_of_suite_c() -> None:
    desk = Desk()
    record, _ = desk.open()
    desk.keys[desk.kid] = RecipientKey(desk.key.point)
    refused("unknown-suite", lambda: desk.take(record))


def test_a_session_of_one_suite_reads_nothing_that_another_suite_sealed() -> None:
    desk = Desk()
    pairs = [desk.open(suites=(name,)) for name in ("B", "A", "C")]
    for record, _ in pairs:
        desk.take(record)
    for _, sealer in pairs:
        sealed = desk.frame(sealer)
        for _, other in pairs:
            if other is not sealer:
                refused("forged", lambda s=sealed, o=other: desk.take(s[:2] + o.sid + s[10:]))
        assert desk.take(sealed) is not None


def test_a_record_that_calls_its_suite_another_one_is_refused() -> None:
    desk = Desk()
    for name in suite.STRONGEST_FIRST:
        record, _ = desk.open(suites=(name,))
        for other in set(suite.STRONGEST_FIRST) - {name}:
            altered = record.replace(b"esuitea" + name.encode(), b"esuitea" + other.encode())
            assert altered != record
            with pytest.raises(Rejected):
                desk.take(altered)


def test_a_recipient_is_signed_only_with_the_keys_of_its_suites() -> None:
    public = create_recipient_key()[1].public_key().public_bytes_raw()
    for suites in (("C",), ("D",), ("A", "A")):
        with pytest.raises(SecurityError, match="nothing was signed"):
            sign_recipient(people().engine, public, device_id=DEVICE, now_ms=NOW_MS, suites=suites)


def test_a_stored_recipient_key_of_before_x_wing_is_still_read() -> None:
    kid, key = create_recipient_key()
    assert recipient_from_bytes(recipient_to_bytes(key)).xwing_public == key.xwing_public
    old = recipient_from_bytes(recipient_to_bytes(key)[:32])
    assert (old.kid, old.xwing) == (kid, None)
    with pytest.raises(SecurityError):
        recipient_from_bytes(bytes(33))


def test_breaking_x25519_tells_nothing_of_the_other_half_of_a_recipient_key() -> None:
    drawn: list[int] = []

    def random(count: int) -> bytes:
        drawn.append(count)
        return bytes([len(drawn)]) * count

    create_recipient_key(random)
    assert drawn == [32, 32]  # two draws: neither half grows from the other


def test_suite_b_refuses_a_frame_longer_than_its_cipher_can_count() -> None:
    _, sealer = Desk().open(suites=("B",))
    with pytest.raises(SecurityError, match="at most 65535 bytes"):
        sealer.seal(bytes(65_536))
    assert len(sealer.seal(bytes(65_535))) == 65_565


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=10,
)


@pytest.mark.parametrize("name", ["suites", "xwing_key", "public_key", "kid"])
@settings(max_examples=60, deadline=None)
@given(junk=JSON)
def test_a_recipient_with_suites_and_one_field_of_junk_is_refused(name: str, junk: object) -> None:
    data = RECIPIENT.to_json()
    with pytest.raises(Rejected):
        verify_recipient(Recipient.from_json(data | {name: junk}), people().ca.trust, NOW_MS)


def test_a_recipient_with_every_suite_fits_into_a_twin_of_azure() -> None:
    data = json.loads(json.dumps(RECIPIENT.to_json()))
    assert verify_recipient(Recipient.from_json(data), people().ca.trust, NOW_MS) == RECIPIENT
    assert all(len(value) < 4096 for value in data.values() if isinstance(value, str))  # Azure: 4 KiB a string
    assert len(json.dumps(data)) < 5000  # of 32 KiB of desired properties


@pytest.mark.parametrize("able", [("B",), ("A", "B"), suite.STRONGEST_FIRST])
def test_a_board_seals_with_the_best_it_can_and_its_spool_survives(able: tuple[str, ...], tmp_path: Path) -> None:
    desk = Desk()
    spool = Spool(tmp_path / "spool.sqlite")
    lanes = Lanes(people().device, spool, tmp_path / "recipient.json", 3, suites=able)
    lanes.use(Recipient.from_json(json.loads(json.dumps(desk.recipient.to_json()))), NOW_MS)
    block = Block("gsr_uS", NOW_MS - 1000, 250_000, -4, quantise([4.0, 4.1], -4))
    lanes.seal(Lane.LIVE, [block], now_ms=NOW_MS, uptime_ms=5, source=Source.SENSOR)
    (stored,) = spool.sessions()
    assert desk.take(stored.open_record) is None
    envelope = spool.next(Lane.LIVE, 0)
    assert envelope is not None
    found = desk.take(envelope.body)
    assert found is not None and found.session.opener.suite == able[0]
    again = Lanes(people().device, spool, tmp_path / "recipient.json", 4, suites=able)
    again.recall_recipient(NOW_MS)
    assert again.recipient == desk.recipient
    assert again.receipt(stored.sid, found.session.opener.make_receipt(0, (), NOW_MS)) == [envelope.id]
    spool.close()


# ------------------------------------------------------------------------------------------------------- age


@pytest.mark.parametrize("lane", Lane)
def test_a_session_takes_frames_of_its_hour_and_none_sealed_after_it(lane: Lane) -> None:
    desk = Desk()
    record, sealer = desk.open(lane)
    desk.take(record)
    for minutes in (0, 30, 60):
        assert desk.take(desk.frame(sealer, NOW_MS + minutes * MINUTE_MS)) is not None
    late = desk.frame(sealer, NOW_MS + HOUR_MS + 2 * MINUTE_MS)
    refused("spent", lambda: desk.take(late, NOW_MS + HOUR_MS + 2 * MINUTE_MS))
    refused("spent", lambda: desk.take(late, NOW_MS))  # whatever the hub's clock says


@pytest.mark.parametrize("lane", Lane)
def test_what_was_sealed_in_time_and_sent_later_still_counts(lane: Lane) -> None:
    desk = Desk()
    record, sealer = desk.open(lane)
    sealed = [desk.frame(sealer, NOW_MS + minutes * MINUTE_MS) for minutes in range(0, 60, 10)]
    arrival = NOW_MS + 13 * DAY_MS  # the spool waited; its open record comes with it
    assert desk.take(record, arrival) is None
    for body in sealed:
        found = desk.take(body, arrival)
        assert found is not None
    assert desk.take(sealed[0], arrival) is None  # and again: a duplicate


def test_a_session_ends_when_no_spool_waits_any_more_and_its_keys_go_and_its_name_stays() -> None:
    desk = Desk()
    record, sealer = desk.open()
    desk.take(record)
    body, later = desk.frame(sealer), desk.frame(sealer)
    desk.take(body)
    desk.commit()
    end = freshness.ends_ms(NOW_MS)
    assert desk.gate.expire(end) == 0
    refused("spent", lambda: desk.take(later, end + 1))  # before anybody swept
    assert desk.gate.expire(end + 1) == 1
    desk.commit()
    secret = sealer._keys.receipt_key  # derived from what was stored
    assert all(secret not in blob and len(blob) < 60 for blob in desk.stored.values())
    for _ in range(2):
        refused("spent", lambda: desk.take(later, end + 1))
        assert desk.take(record, NOW_MS) is None  # its record, shown again, opens nothing, even with the clock set back
        refused("spent", lambda: desk.take(later, NOW_MS))
        desk.restart()


def test_a_record_too_old_or_of_the_future_opens_nothing() -> None:
    desk = Desk()
    record, _ = desk.open()
    refused("too-old", lambda: desk.take(record, NOW_MS + 15 * DAY_MS))
    early, _ = desk.open(at_ms=NOW_MS + 2 * DAY_MS)
    refused("ahead", lambda: desk.take(early))
    assert desk.take(early, NOW_MS + DAY_MS) is None  # a clock a day ahead is a fault, not an attack


def test_a_replayed_record_resets_nothing() -> None:
    desk = Desk()
    record, sealer = desk.open()
    desk.take(record)
    body = desk.frame(sealer)
    assert desk.take(body) is not None
    for _ in range(3):
        assert desk.take(record) is None and desk.take(body) is None
    desk.commit()
    desk.restart()
    assert desk.take(record) is None and desk.take(body) is None


def test_an_earlier_boot_may_arrive_late_but_not_speak_on_after_the_next() -> None:
    desk = Desk()
    desk.take(desk.open(epoch=8)[0])
    assert desk.take(desk.open(Lane.BACKFILL, epoch=7, at_ms=NOW_MS - HOUR_MS)[0]) is None
    later = NOW_MS + 2 * HOUR_MS
    copy, _ = desk.open(epoch=7, at_ms=later)
    refused("rolled-back", lambda: desk.take(copy, later))
    desk.commit()
    desk.restart()
    refused("rolled-back", lambda: desk.take(copy, later))
    desk.take(desk.open(epoch=8, at_ms=later)[0], later)  # the later boot has passed that time too
    assert desk.take(copy, later) is None


def test_an_expired_boot_still_counts_for_the_order_of_boots() -> None:
    desk = Desk()
    desk.take(desk.open(epoch=8)[0])
    desk.gate.expire(freshness.ends_ms(NOW_MS) + 1)
    desk.commit()
    desk.restart()
    refused("rolled-back", lambda: desk.take(desk.open(epoch=7, at_ms=NOW_MS + 2 * HOUR_MS)[0], NOW_MS + 2 * HOUR_MS))


# ------------------------------------------------------------------------------------------------------ rates


def test_a_device_opens_so_many_sessions_at_once_and_then_one_a_second() -> None:
    desk = Desk()
    record, _ = desk.open(suites=("A",))
    wrong = bytearray(record)
    wrong[-1] ^= 1
    for _ in range(OPENS_BURST):
        refused("forged", lambda: desk.take(bytes(wrong)))
    told = [refused("too-many", lambda: desk.take(record)) for _ in range(5)]
    assert [isinstance(e, TooMany) and e.first for e in told] == [True, False, False, False, False]
    desk.steady_s += 1.01
    assert desk.take(record) is None
    assert desk.take(record) is None  # it is known now, and costs nothing


def test_a_flood_by_one_device_costs_the_others_nothing() -> None:
    desk = Desk()
    for _ in range(OPENS_BURST + 5):
        with pytest.raises(Rejected):
            desk.take(b"\1\2" + bytes(200), device="esp32-02")
    assert desk.take(desk.open()[0]) is None


def test_a_throttled_record_costs_no_certificate_no_signature_and_no_secret() -> None:
    desk = Desk()
    for _ in range(OPENS_BURST):
        with pytest.raises(Rejected):
            desk.take(b"\1\2" + bytes(200))
    record, _ = desk.open()
    desk.keys = {}
    refused("too-many", lambda: desk.take(record))
    assert (desk.gate._admission.chains.hits, desk.gate._admission.chains.misses) == (0, 0)


def test_a_spool_of_fourteen_days_fits_into_one_burst() -> None:
    assert OPENS_BURST >= 14 * 24 + 2


def test_buckets_are_bounded_fill_up_again_and_never_hold_more_than_their_burst() -> None:
    now = [0.0]
    buckets = Buckets(1.0, 3, lambda: now[0], most=5)
    for _ in range(3):
        buckets.take("a")
    with pytest.raises(TooMany):
        buckets.take("a")
    now[0] += 1000
    for _ in range(3):
        buckets.take("a")
    with pytest.raises(TooMany) as caught:
        buckets.take("a")
    assert caught.value.first  # a new spell is told anew
    for name in map(str, range(50)):
        buckets.take(name)
    assert len(buckets) <= 5
    now[0] -= 500  # a clock that runs backwards gives nothing
    with pytest.raises(TooMany):
        for _ in range(4):
            buckets.take("49")


# ----------------------------------------------------------------------------------------------------- chains


def test_a_chain_is_verified_once_and_remembered_for_an_hour() -> None:
    house = people()
    cache = ChainCache().of(house.ca.trust)
    chain = house.device.chain_der
    first = cache.verify_device(chain, DEVICE, NOW_MS)
    assert cache.verify_device(chain, DEVICE, NOW_MS + 1) == first and (cache.hits, cache.misses) == (1, 1)
    cache.verify_device(chain, DEVICE, NOW_MS + REMEMBER_MS + 1)
    assert cache.misses == 2
    refused("expired", lambda: cache.verify_device(chain, DEVICE, NOW_MS + 31 * DAY_MS))
    refused("wrong-identity", lambda: cache.verify_device(chain, "esp32-02", NOW_MS))


def test_a_remembered_chain_is_refused_as_soon_as_it_is_revoked() -> None:
    house = people()
    cache = ChainCache().of(house.ca.trust)
    cache.verify_device(house.device.chain_der, DEVICE, NOW_MS)
    cache.of(replace(house.ca.trust)).verify_device(house.device.chain_der, DEVICE, NOW_MS)
    assert (cache.hits, cache.misses) == (1, 1)  # an equal trust, asked again, changes nothing
    strict = replace(house.ca.trust, revoked=frozenset({house.device.certificate.serial_number}))
    refused("revoked", lambda: cache.of(strict).verify_device(house.device.chain_der, DEVICE, NOW_MS))


def test_what_was_refused_is_not_remembered_and_the_memory_is_bounded() -> None:
    house = people()
    cache = ChainCache(most=1).of(house.ca.trust)
    for _ in range(3):
        refused("wrong-usage", lambda: cache.verify_device(house.engine.chain_der, "engine", NOW_MS))
    assert not cache._known
    cache.verify_device(house.device.chain_der, DEVICE, NOW_MS)
    cache.verify_device(house.other.chain_der, "esp32-02", NOW_MS)
    assert len(cache._known) == 1


def test_an_open_record_is_accepted_as_well_by_the_old_kind_of_key() -> None:
    desk = Desk(offered=("A",))
    record, sealer = open_session(
        people().device, desk.recipient, epoch=1, lane=Lane.LIVE, now_ms=NOW_MS, suites=("A",)
    )
    opener = accept_open_record(
        record, trust=people().ca.trust, recipient_key={desk.kid: desk.key.point}.get, hub_device_id=DEVICE,
        now_ms=NOW_MS,
    )  # fmt: skip
    assert opener.open(sealer.seal(b"frame")) == (0, b"frame")
