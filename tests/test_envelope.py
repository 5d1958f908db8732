"""The envelope and its open record: what fits is read, whatever was touched is refused and says why."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.bindings._rust import openssl as rust_openssl
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given, settings
from hypothesis import strategies as st

from security import canonical, envelope, session, suite
from security.envelope import (
    MAX_MESSAGES,
    OVERHEAD_BYTES,
    ROTATE_AFTER_MS,
    ClosedSession,
    Header,
    Lane,
    Opener,
    Recipient,
    Sealer,
    accept_open_record,
    open_session,
    parse_header,
    sign_recipient,
    verify_recipient,
)
from security.errors import Rejected, SecurityError, SessionSpent
from security.identity import (
    Authority,
    DeviceIdentity,
    EngineIdentity,
    create_ca,
    issue_device,
    issue_engine,
    issue_server,
)
from security.keys import RecipientKey, create_recipient_key
from security.receipts import MAX_EXTRA
from security.wire import HEADER_BYTES

NOW_MS = 1_780_000_000_000
DAY_MS = 24 * 3600 * 1000
SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class House:
    """A CA, two devices, an engine, and a recipient key for the first device."""

    ca: Authority
    device: DeviceIdentity
    other: DeviceIdentity
    engine: EngineIdentity
    kid: bytes
    key: RecipientKey
    recipient: Recipient

    def open(self, lane: Lane = Lane.LIVE, epoch: int = 3) -> tuple[bytes, Sealer]:
        return open_session(self.device, self.recipient, epoch=epoch, lane=lane, now_ms=NOW_MS)

    def accept(self, record: bytes, hub_device_id: str = "esp32-01", now_ms: int = NOW_MS, **changes: Any) -> Opener:
        trust, lookup = changes.get("trust", self.ca.trust), changes.get("recipient_key", {self.kid: self.key}.get)
        return accept_open_record(record, trust=trust, recipient_key=lookup, hub_device_id=hub_device_id, now_ms=now_ms)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    home = tmp_path_factory.mktemp("pki")
    ca = create_ca(home / "ca", now_ms=NOW_MS)
    engine = issue_engine(ca, home / "engine", now_ms=NOW_MS)
    kid, key = create_recipient_key()
    recipient = sign_recipient(engine, key.public_key().public_bytes_raw(), device_id="esp32-01", now_ms=NOW_MS)
    device, other = (issue_device(ca, name, home / "devices", now_ms=NOW_MS) for name in ("esp32-01", "esp32-02"))
    return House(ca, device, other, engine, kid, key, recipient)


@pytest.fixture(scope="module")
def pair(house: House) -> tuple[Sealer, Opener]:
    record, sealer = house.open()
    return sealer, house.accept(record)


def refused(reason: str, action: Callable[[], object]) -> str:
    with pytest.raises(Rejected) as caught:
        action()
    assert caught.value.reason == reason, str(caught.value)
    text = str(caught.value)
    assert text.startswith("expected ") and ", got " in text and "; " in text
    return text


def forge(house: House, signer: DeviceIdentity | None = None, **changes: object) -> bytes:
    """An open record with changed fields, signed properly by `signer`: what an insider could send."""
    record, _ = house.open()
    fields = canonical.decode(record[HEADER_BYTES:-SIGNATURE_BYTES], "a record") | changes
    unsigned = record[:HEADER_BYTES] + canonical.encode({k: v for k, v in fields.items() if v is not None})
    return unsigned + envelope._sign((signer or house.device).key, unsigned)


# ------------------------------------------------------------------------------------------------ round trips


@settings(max_examples=50, deadline=None)
@given(frames=st.lists(st.binary(max_size=3000), min_size=1, max_size=5), lane=st.sampled_from(Lane))
def test_what_a_device_seals_the_engine_opens(house: House, frames: list[bytes], lane: Lane) -> None:
    record, sealer = house.open(lane)
    opener = house.accept(record)
    envelopes = [sealer.seal(frame) for frame in frames]
    assert [opener.open(e) for e in envelopes] == list(enumerate(frames))
    assert {len(e) - len(f) for e, f in zip(envelopes, frames, strict=True)} == {30} == {OVERHEAD_BYTES}
    assert (opener.device, opener.epoch, opener.lane, opener.sid) == ("esp32-01", 3, lane, sealer.sid)
    header = parse_header(envelopes[-1])
    assert header == (1, lane, False, sealer.sid, len(frames) - 1)


def test_messages_open_in_any_order_and_again_because_duplicates_are_the_engines_business(
    pair: tuple[Sealer, Opener],
) -> None:
    sealer, opener = pair
    first, second = sealer.seal(b"first"), sealer.seal(b"second")
    assert [opener.open(e)[1] for e in (second, first, second)] == [b"second", b"first", b"second"]


def test_a_stored_opener_opens_and_receipts_as_before(house: House) -> None:
    record, sealer = house.open(Lane.BACKFILL)
    opener = Opener.from_bytes(house.accept(record).to_bytes())
    assert opener.open(sealer.seal(b"frame")) == (0, b"frame")
    assert sealer.check_receipt(opener.make_receipt(0, (), NOW_MS)).upto == 0
    assert (opener.device, opener.epoch, opener.lane, opener.sid) == ("esp32-01", 3, Lane.BACKFILL, sealer.sid)
    assert opener.kid == house.kid


def test_two_sessions_share_neither_id_nor_key(house: House) -> None:
    (record_a, a), (record_b, b) = house.open(), house.open()
    assert a.sid != b.sid
    assert a.seal(b"frame")[HEADER_BYTES:] != b.seal(b"frame")[HEADER_BYTES:]
    assert record_a != record_b


# -------------------------------------------------------------------------------------- every touch is refused


def test_every_flipped_bit_of_an_envelope_is_refused(pair: tuple[Sealer, Opener]) -> None:
    sealer, opener = pair
    true = sealer.seal(b"a frame of a heart")
    reasons = set()
    for bit in range(8 * len(true)):
        altered = bytearray(true)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Rejected) as caught:
            opener.open(bytes(altered))
        reasons.add(caught.value.reason)
    assert reasons == {"malformed", "unknown-session", "forged", "spent"}
    assert opener.open(true)[1] == b"a frame of a heart"  # the true one still counts


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # of a certificate with a flipped bit
def test_every_flipped_bit_of_an_open_record_is_refused(house: House) -> None:
    record, _ = house.open()
    for bit in range(8 * len(record)):
        altered = bytearray(record)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Rejected):
            house.accept(bytes(altered))


def test_every_shortened_or_lengthened_message_is_refused(house: House) -> None:
    record, sealer = house.open()
    opener = house.accept(record)
    true = sealer.seal(b"frame")
    for data in [true[:n] for n in range(len(true))] + [true + b"\0", true + true]:
        with pytest.raises(Rejected):
            opener.open(data)
    for data in [record[:n] for n in range(len(record))] + [record + b"\0", record + record]:
        with pytest.raises(Rejected):
            house.accept(data)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300))
def test_random_bytes_are_refused_and_nothing_else_happens(
    house: House, pair: tuple[Sealer, Opener], data: bytes
) -> None:
    record, _ = house.open()
    for attempt in (
        lambda: pair[1].open(data),
        lambda: house.accept(data),
        lambda: house.accept(record[:HEADER_BYTES] + data + record[-SIGNATURE_BYTES:]),
    ):
        with pytest.raises(Rejected):
            attempt()


def test_a_forged_message_gets_a_sentence_that_a_clinician_can_read(pair: tuple[Sealer, Opener]) -> None:
    sealer, opener = pair
    true = sealer.seal(b"frame")
    text = refused("forged", lambda: opener.open(true[:-1] + bytes([true[-1] ^ 1])))
    assert "device esp32-01" in text and "refused" in text and "no value on any screen comes from it" in text


def test_an_envelope_of_another_session_lane_or_device_is_refused(house: House) -> None:
    record, sealer = house.open()
    opener = house.accept(record)
    _, later = house.open()
    _, backfill = house.open(Lane.BACKFILL)
    true = sealer.seal(b"frame")
    for foreign in (later.seal(b"frame"), backfill.seal(b"frame")):
        refused("unknown-session", lambda data=foreign: opener.open(data))
        renamed = foreign[:2] + sealer.sid + foreign[10:]
        refused("forged", lambda data=renamed: opener.open(data))
    refused("forged", lambda: opener.open(true[:1] + b"\1" + true[2:]))  # live shown as backfill
    refused("forged", lambda: opener.open(true[:10] + b"\0\0\0\5" + true[14:]))  # another number


def test_huge_input_is_refused_before_it_is_looked_at(house: House, pair: tuple[Sealer, Opener]) -> None:
    huge = bytes(300 * 1024)
    refused("malformed", lambda: pair[1].open(b"\1\0" + huge))
    refused("malformed", lambda: house.accept(b"\1\2" + huge))
    with pytest.raises(SecurityError, match="nothing was sealed"):
        pair[0].seal(huge)


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x81" * 5000,  # nested arrays
        b"\x9b\x7f" + b"\xff" * 7,  # an array of 2^63 items
        b"\x5b\x7f" + b"\xff" * 7,  # a string of 2^63 bytes
        b"\xd8\x1c\x81\xd8\x1d\x00",  # a list that holds itself
        b"\xd8\x23\x68(a+)+$$$",  # a regular expression
        b"\xc4\x82\x1b" + b"\xff" * 8 + b"\x01",  # a decimal of 10^(2^64)
        b"\xbf\xff",  # indefinite length
        b"\xa2\x61a\x01\x61a\x01",  # one key twice
    ],
)
def test_hostile_cbor_is_refused(house: House, bomb: bytes) -> None:
    record, _ = house.open()
    refused("malformed", lambda: house.accept(record[:HEADER_BYTES] + bomb + record[-SIGNATURE_BYTES:]))


# --------------------------------------------------------------------------------------- who opened the session


def test_an_open_record_that_the_hub_took_from_another_device_is_refused(house: House) -> None:
    record, _ = house.open()
    refused("wrong-device", lambda: house.accept(record, hub_device_id="esp32-02"))


def test_an_open_record_signed_by_another_device_is_refused(house: House) -> None:
    refused("forged", lambda: house.accept(forge(house, signer=house.other)))
    with_own_chain = forge(house, signer=house.other, chain=list(house.other.chain_der))
    refused("wrong-identity", lambda: house.accept(with_own_chain))


def test_the_mirror_image_of_a_signature_is_refused_so_that_a_record_has_one_form(house: House) -> None:
    record, _ = house.open()
    s = envelope._P256_ORDER - int.from_bytes(record[-32:], "big")
    refused("forged", lambda: house.accept(record[:-32] + s.to_bytes(32, "big")))


def test_a_suite_that_we_do_not_speak_is_refused_and_so_is_one_changed_on_the_way(house: House) -> None:
    for name in ("B", "none", "", 0, None):
        with pytest.raises(Rejected):
            house.accept(forge(house, suite=name))
    refused("unknown-suite", lambda: house.accept(forge(house, suite="D")))
    record, _ = house.open()
    refused("unknown-suite", lambda: house.accept(record.replace(b"esuiteaA", b"esuiteaD")))
    refused("malformed", lambda: house.accept(record.replace(b"esuiteaA", b"esuiteaB")))  # its secret is shorter


@pytest.mark.parametrize(
    "field, value",
    [
        ("epoch", -1), ("epoch", 2**53), ("epoch", True), ("epoch", "3"), ("sid", b"\0" * 8), ("sid", "x"), ("lane", 1),
        ("lane", False), ("kid", b"short"), ("created_ms", -5), ("created_ms", 1.5), ("enc", b"\0" * 79), ("chain", []),
        ("chain", b"der"), ("chain", [b"\x30" * 3000]), ("chain", [b"1", b"2", b"3"]), ("device", "a|b"),
        ("device", "../root"), ("device", ""), ("extra", 1), ("enc", None),
    ],
)  # fmt: skip
def test_a_field_of_another_form_is_refused_though_the_signature_is_right(
    house: House, field: str, value: object
) -> None:
    with pytest.raises(Rejected) as caught:
        house.accept(forge(house, **{field: value}))
    assert caught.value.reason in ("malformed", "wrong-device")


def test_a_changed_epoch_or_a_secret_of_another_session_does_not_open(house: House) -> None:
    record, _ = house.open()
    enc = canonical.decode(record[HEADER_BYTES:-SIGNATURE_BYTES], "a record")["enc"]
    refused("forged", lambda: house.accept(forge(house, enc=enc)))  # sealed for another sid
    refused("forged", lambda: house.accept(forge(house, epoch=4)))
    refused("forged", lambda: house.accept(forge(house, enc=bytes(80))))  # a point of low order


def test_a_record_under_a_message_header_or_a_later_number_is_refused_though_it_is_signed(house: House) -> None:
    record, sealer = house.open()
    for header in (Header(1, Lane.LIVE, False, sealer.sid, 0), Header(1, Lane.LIVE, True, sealer.sid, 1)):
        unsigned = header.pack() + record[HEADER_BYTES:-SIGNATURE_BYTES]
        refused("malformed", lambda data=unsigned: house.accept(data + envelope._sign(house.device.key, data)))


def test_a_frame_sealed_under_the_header_of_an_open_record_is_refused(house: House) -> None:
    record, sealer = house.open()
    header = Header(1, Lane.LIVE, True, sealer.sid, 0).pack()
    refused("malformed", lambda: house.accept(record).open(header + sealer._keys.seal(0, b"frame", header)))


def test_a_record_has_one_form_only_though_its_maker_signed_another(house: House) -> None:
    record, _ = house.open()
    body = record[HEADER_BYTES:-SIGNATURE_BYTES]
    fields = canonical.decode(body, "a record")
    longer_integer = body.replace(b"\x65epoch\x03", b"\x65epoch\x18\x03")
    other_order = cbor2.dumps(dict(reversed(fields.items())))
    assert cbor2.loads(longer_integer) == cbor2.loads(other_order) == fields
    for form in (longer_integer, other_order, body + b"\0"):
        unsigned = record[:HEADER_BYTES] + form
        refused("malformed", lambda data=unsigned: house.accept(data + envelope._sign(house.device.key, data)))


def test_an_erased_recipient_key_opens_nothing(house: House) -> None:
    record, _ = house.open()
    refused("unknown-recipient", lambda: house.accept(record, recipient_key=lambda kid: None))
    refused("forged", lambda: house.accept(record, recipient_key=lambda kid: X25519PrivateKey.generate()))


def test_nothing_is_decrypted_before_certificate_and_signature_hold(house: House) -> None:
    asked: list[bytes] = []

    def lookup(kid: bytes) -> None:
        asked.append(kid)

    for record in (forge(house, signer=house.other), forge(house, chain=list(house.engine.chain_der))):
        with pytest.raises(Rejected):
            house.accept(record, recipient_key=lookup)
    assert asked == []


def test_an_expired_future_revoked_or_foreign_device_opens_no_session(house: House, tmp_path: Path) -> None:
    record, _ = house.open()
    refused("expired", lambda: house.accept(record, now_ms=NOW_MS + 31 * DAY_MS))
    refused("not-yet-valid", lambda: house.accept(record, now_ms=NOW_MS - DAY_MS))
    serials = frozenset({house.device.certificate.serial_number})
    refused("revoked", lambda: house.accept(record, trust=replace(house.ca.trust, revoked=serials)))
    rogue = issue_device(create_ca(tmp_path / "ca", now_ms=NOW_MS), "esp32-01", tmp_path / "d", now_ms=NOW_MS)
    refused("untrusted", lambda: house.accept(forge(house, signer=rogue, chain=list(rogue.chain_der))))
    server = issue_server(house.ca, "esp32-01", ["127.0.0.1"], tmp_path / "s", now_ms=NOW_MS)
    as_device = DeviceIdentity(
        server.name, server.key, server.chain_der, server.key_path, server.chain_path, server.root_path, server.trust
    )
    forged = forge(house, signer=as_device, chain=list(server.chain_der))
    refused("wrong-usage", lambda: house.accept(forged))


# ----------------------------------------------------------------------------------------------- never twice


def test_a_sealer_counts_to_its_end_and_then_refuses(house: House) -> None:
    _, sealer = house.open()
    sealer._next_seq = MAX_MESSAGES - 1
    assert parse_header(sealer.seal(b"last")).seq == MAX_MESSAGES - 1
    assert sealer.is_spent(NOW_MS)
    with pytest.raises(SessionSpent, match="open a new one"):
        sealer.seal(b"one more")


def test_threads_that_seal_at_once_never_share_a_number(house: House) -> None:
    _, sealer = house.open()
    with ThreadPoolExecutor(8) as pool:
        envelopes = list(pool.map(lambda _: sealer.seal(b"frame"), range(2000)))
    assert sorted(parse_header(e).seq for e in envelopes) == list(range(2000))


def test_a_session_is_spent_after_an_hour_or_when_the_clock_was_set_back(house: House) -> None:
    _, sealer = house.open()
    spent = [sealer.is_spent(NOW_MS + t) for t in (0, ROTATE_AFTER_MS - 1, ROTATE_AFTER_MS, -1)]
    assert spent == [False, False, True, True]


def test_the_opener_reads_nothing_beyond_the_life_of_a_session(house: House) -> None:
    record, sealer = house.open()
    opener, header = house.accept(record), bytes([1, 0]) + sealer.sid + MAX_MESSAGES.to_bytes(4, "big")
    beyond = header + sealer._keys.seal(MAX_MESSAGES, b"frame", header)
    refused("spent", lambda: opener.open(beyond))


def test_a_sealer_cannot_be_copied_pickled_or_used_after_a_fork(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    _, sealer = house.open()
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="repeat nonces"):
            duplicate(sealer)
    monkeypatch.setattr(session.os, "getpid", lambda: -1)
    with pytest.raises(SessionSpent):
        sealer.seal(b"in the child")


def test_what_a_sealer_leaves_on_disk_checks_receipts_and_has_no_key_to_seal_with(house: House) -> None:
    record, sealer = house.open()
    opener = house.accept(record)
    sealer.seal(b"frame")
    stored = sealer.to_bytes()
    restored = Sealer.from_bytes(stored)
    assert type(restored) is ClosedSession and not hasattr(restored, "seal")
    assert restored.check_receipt(opener.make_receipt(0, (), NOW_MS)).upto == 0
    assert restored.to_bytes() == stored
    assert opener._secret not in stored and len(stored) < 200


def test_a_failure_while_sealing_loses_a_number_and_never_repeats_one(house: House) -> None:
    _, sealer = house.open()
    with pytest.raises(TypeError):
        sealer.seal("not bytes")  # type: ignore[arg-type]
    assert parse_header(sealer.seal(b"frame")).seq == 1
    assert sealer.next_seq == 2


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x83\x01\x02\x03", b"x" * 5000])
def test_stored_sessions_of_another_form_are_refused(house: House, data: bytes) -> None:
    for load in (ClosedSession.from_bytes, Opener.from_bytes):
        with pytest.raises(SecurityError):
            load(data)
    record, sealer = house.open()
    with pytest.raises(SecurityError):
        Opener.from_bytes(sealer.to_bytes())
    with pytest.raises(SecurityError):
        ClosedSession.from_bytes(house.accept(record).to_bytes())


# -------------------------------------------------------------------------------------------------- receipts


def test_a_receipt_survives_json_and_says_what_is_stored(pair: tuple[Sealer, Opener]) -> None:
    sealer, opener = pair
    while sealer.next_seq < 20:
        sealer.seal(b"frame")
    data = json.loads(json.dumps(opener.make_receipt(4, ((6, 7), (10, 19)), NOW_MS)))
    receipt = sealer.check_receipt(data)
    assert [n for n in range(22) if receipt.covers(n)] == [0, 1, 2, 3, 4, 6, 7, *range(10, 20)]
    assert (receipt.sid, receipt.lane, receipt.t_ms) == (sealer.sid, Lane.LIVE, NOW_MS)


def test_a_receipt_of_another_session_or_lane_is_refused(house: House) -> None:
    (record, sealer), (other_record, _) = house.open(), house.open(Lane.BACKFILL)
    sealer.seal(b"frame")
    theirs = house.accept(other_record).make_receipt(0, (), NOW_MS)
    refused("unknown-session", lambda: sealer.check_receipt(theirs))
    refused("unknown-session", lambda: sealer.check_receipt(theirs | {"sid": sealer.sid.hex()}))
    refused("forged", lambda: sealer.check_receipt(theirs | {"sid": sealer.sid.hex(), "lane": 0}))
    ours = house.accept(record).make_receipt(0, (), NOW_MS)
    assert sealer.check_receipt(ours).upto == 0


def test_an_altered_receipt_frees_nothing(pair: tuple[Sealer, Opener]) -> None:
    sealer, opener = pair
    for _ in range(9):
        sealer.seal(b"frame")
    true = opener.make_receipt(2, ((4, 5),), NOW_MS)
    for change in ({"upto": 1}, {"extra": [[4, 6]]}, {"extra": []}, {"t_ms": NOW_MS + 1}, {"mac": "00" * 32}):
        refused("forged", lambda c=change: sealer.check_receipt(true | c))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(junk=JSON, field=st.sampled_from(["sid", "lane", "upto", "extra", "t_ms", "mac"]))
def test_junk_from_the_cloud_is_refused_and_nothing_else_happens(
    house: House, pair: tuple[Sealer, Opener], junk: object, field: str
) -> None:
    sealer, opener = pair
    true = opener.make_receipt(-1, (), NOW_MS)
    with pytest.raises(Rejected):
        sealer.check_receipt(junk)
    if true[field] != junk:
        with pytest.raises(Rejected):
            sealer.check_receipt(true | {field: junk})
    with pytest.raises(Rejected):
        Recipient.from_json(junk)


@pytest.mark.parametrize("field", ["kid", "public_key", "device", "not_after_ms", "signature", "signer"])
@settings(max_examples=40, deadline=None)
@given(junk=JSON)
def test_a_recipient_with_one_field_of_junk_is_refused(house: House, field: str, junk: object) -> None:
    with pytest.raises(Rejected):
        verify_recipient(Recipient.from_json(house.recipient.to_json() | {field: junk}), house.ca.trust, NOW_MS)


def test_a_receipt_for_what_was_never_sealed_is_refused(house: House) -> None:
    record, sealer = house.open()
    ahead = house.accept(record).make_receipt(0, ((5, 9),), NOW_MS)
    sealer.seal(b"frame")
    refused("malformed", lambda: sealer.check_receipt(ahead))


def test_a_receipt_with_too_many_ranges_says_less_and_never_more(house: House) -> None:
    record, sealer = house.open()
    opener, many = house.accept(record), tuple((2 * n, 2 * n) for n in range(1, 100))
    sealer._next_seq = 1000
    receipt = sealer.check_receipt(opener.make_receipt(0, many, NOW_MS))
    assert receipt.extra == many[:MAX_EXTRA]


@pytest.mark.parametrize(
    "upto, extra", [(-2, ()), (5, ((6, 7),)), (5, ((3, 4),)), (0, ((5, 4),)), (0, ((2, 3), (4, 5))), (2**20, ())]
)
def test_a_receipt_that_makes_no_sense_is_not_made(
    pair: tuple[Sealer, Opener], upto: int, extra: tuple[tuple[int, int], ...]
) -> None:
    with pytest.raises(SecurityError, match="no receipt was made"):
        pair[1].make_receipt(upto, extra, NOW_MS)


# ------------------------------------------------------------------------------------------------- recipients


def test_a_recipient_survives_json_and_is_verified(house: House) -> None:
    again = Recipient.from_json(json.loads(json.dumps(house.recipient.to_json())))
    assert verify_recipient(again, house.ca.trust, NOW_MS) == house.recipient
    assert max(len(str(v)) for v in house.recipient.to_json().values()) < 4096  # Azure's limit for a twin's string


def test_a_device_seals_to_no_key_that_our_engine_did_not_sign_for_it(house: House, tmp_path: Path) -> None:
    r = house.recipient
    _, attacker_key = create_recipient_key()
    mine = attacker_key.public_key().public_bytes_raw()
    rogue_ca = create_ca(tmp_path / "ca", now_ms=NOW_MS)
    rogue = issue_engine(rogue_ca, tmp_path / "e", now_ms=NOW_MS)
    by_device = EngineIdentity(
        house.other.name, house.other.key, house.other.chain_der, house.other.key_path, house.other.chain_path,
        house.other.root_path, house.other.trust,
    )  # fmt: skip

    def use(recipient: Recipient, now_ms: int = NOW_MS) -> None:
        open_session(house.device, recipient, epoch=1, lane=Lane.LIVE, now_ms=now_ms)

    use(r)
    refused("forged", lambda: use(replace(r, public_key=mine)))
    refused("forged", lambda: use(replace(r, not_after_ms=r.not_after_ms + 1)))
    refused("forged", lambda: use(replace(r, signature=bytes(8))))
    refused("expired", lambda: use(r, r.not_after_ms))
    refused("wrong-device", lambda: use(sign_recipient(house.engine, mine, device_id="esp32-02", now_ms=NOW_MS)))
    refused("untrusted", lambda: use(sign_recipient(rogue, mine, device_id="esp32-01", now_ms=NOW_MS)))
    refused("wrong-usage", lambda: use(sign_recipient(by_device, mine, device_id="esp32-01", now_ms=NOW_MS)))
    own = replace(sign_recipient(house.engine, mine, device_id="esp32-02", now_ms=NOW_MS), device="esp32-01")
    refused("forged", lambda: use(own))


def test_a_recipient_of_before_does_not_supersede_the_one_of_now(house: House) -> None:
    public = house.key.public_key().public_bytes_raw()
    later = sign_recipient(house.engine, public, device_id="esp32-01", now_ms=NOW_MS + 1)
    elsewhere = sign_recipient(house.engine, public, device_id="esp32-02", now_ms=NOW_MS + 2)
    assert later.supersedes(house.recipient) and not house.recipient.supersedes(later)
    assert not elsewhere.supersedes(house.recipient)


def test_a_recipient_lives_a_week_at_most(house: House) -> None:
    public = house.key.public_key().public_bytes_raw()
    assert sign_recipient(house.engine, public, device_id="d", now_ms=0).not_after_ms == 7 * DAY_MS
    with pytest.raises(SecurityError, match="nothing was signed"):
        sign_recipient(house.engine, public, device_id="d", now_ms=0, life_ms=7 * DAY_MS + 1)


# -------------------------------------------------------------------------------------------- published vectors


def test_x25519_gives_the_vectors_of_rfc_7748() -> None:
    for scalar, point, result in (  # section 5.2
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ):
        key = X25519PrivateKey.from_private_bytes(bytes.fromhex(scalar))
        assert key.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(point))).hex() == result


def test_hpke_opens_the_base_mode_vector_of_rfc_9180() -> None:
    # Appendix A.1.1, sequence number 0. The vector has an AAD, which only the library's inner call takes.
    enc = "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"
    ct = "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"
    key = X25519PrivateKey.from_private_bytes(
        bytes.fromhex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")
    )
    opened = rust_openssl.hpke._decrypt_with_aad(
        Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM),
        bytes.fromhex(enc + ct),
        key,
        info=bytes.fromhex("4f6465206f6e2061204772656369616e2055726e"),
        aad=b"Count-0",
    )
    assert opened == b"Beauty is truth, truth beauty"


def test_the_keys_of_a_session_are_fixed_for_other_implementations() -> None:
    # Our own vector: a device in another language must make these bytes.
    context = suite.Context("A", "esp32-01", 7, bytes(range(8)))
    assert context.info("up") == b"everbeat/1|A|esp32-01|7|0001020304050607|up"
    keys = suite.derive(bytes(range(32)), context)
    header = bytes([1, 0]) + context.sid + (5).to_bytes(4, "big")
    assert keys.seal(5, b"frame", header).hex() == "946373fc0520bea904dd7dbabaf2b9c10bc2f6eafa"
    assert keys.receipt_key.hex() == "83d46501f2c9b1b82da7e4a7d046e1ead1518ffc40e17d0ae82132b85de7ad90"
    assert len({keys._nonce(n) for n in range(1000)}) == 1000


def test_the_suite_is_the_one_of_the_design() -> None:
    key = X25519PrivateKey.generate()
    context = suite.Context("A", "d", 0, bytes(8))
    secret, enc = suite.send_secret(key.public_key().public_bytes_raw(), context)
    same = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
    assert len(enc) == suite.SUITES["A"].enc_bytes == 80 and same.decrypt(enc, key, info=context.info("open")) == secret
