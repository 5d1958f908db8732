"""Targets between sensor and engine: frame, canonical CBOR, envelope, open record, renewals, what devices are told."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path

from device.commands import Controls, answer, interval_s
from device.frame import Block, Frame, FrameError, Source, decode, encode, quantise
from device.renewing import make_answer, parse_answer, parse_request
from fuzzing.targets import Run
from security import canonical, certificates
from security import envelope as envelopes
from security.envelope import Lane, accept_open_record, named_recipient, open_session, parse_header, sign_recipient
from security.errors import Rejected
from security.identity import create_ca, issue_device, issue_engine
from security.keys import create_recipient_key
from security.receipts import MAX_MESSAGES
from security.recipient import Recipient
from security.renewal import check_answer, make_renewal, prove_renewal
from security.session import Opener, Sealer
from security.suite import STRONGEST_FIRST

NOW_MS = 1_780_000_000_000
Made = tuple[Run, list[bytes]]


def a_frame(seq: int = 0) -> bytes:
    """A frame of three channels: even, with a missing reading, and uneven."""
    blocks = (
        Block("gsr_uS", NOW_MS - 900, 250_000, -3, quantise([4.1, 4.2, None, 4.0], -3)),
        Block("room_temp_C", NOW_MS - 900, 0, -1, quantise([21.0, 21.5], -1), (800,)),
        Block("emg_activity_mV.zyg", NOW_MS - 990, 10_000, -6, tuple(range(0, 9900, 100))),
    )
    return encode(Frame(NOW_MS, 5000, 3, seq, Source.SENSOR, blocks))


def frame() -> Made:
    """Whatever decodes encodes to a frame that decodes to the same."""

    def run(data: bytes) -> None:
        try:
            found = decode(data)
        except FrameError:
            return
        for block in found.blocks:
            assert len(block.times_us()) == len(block.values()) == len(block.counts)
        assert decode(encode(found)) == found

    return run, [a_frame(), encode(Frame(NOW_MS, 0, 0, 0, Source.RECORDING, ()))]


def canonical_cbor() -> Made:
    """One value has one form."""

    def run(data: bytes) -> None:
        try:
            value = canonical.decode(data, "anything")
        except Rejected:
            return
        assert canonical.encode(value) == data

    return run, [canonical.encode(v) for v in ([1, "a", b"b", None, True, {"k": [-1]}], {"a": 1}, 2**63)]


class _Session:
    """A device, an engine, and a session of each suite between them."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as home:
            self.ca = create_ca(Path(home) / "ca", now_ms=NOW_MS)
            self.device = issue_device(self.ca, "fuzzed", Path(home) / "d", now_ms=NOW_MS)
            engine = issue_engine(self.ca, Path(home) / "e", now_ms=NOW_MS)
        self.kid, self.key = create_recipient_key()
        self.recipient = sign_recipient(
            engine, self.key.public_key().public_bytes_raw(), device_id="fuzzed", now_ms=NOW_MS,
            suites=STRONGEST_FIRST, xwing_key=self.key.xwing_public,
        )  # fmt: skip
        self.trust = self.ca.trust

    def opened(self, suite: str, lane: Lane = Lane.LIVE) -> tuple[bytes, Sealer]:
        return open_session(self.device, self.recipient, epoch=3, lane=lane, now_ms=NOW_MS, suites=(suite,))

    def accept(self, record: bytes) -> Opener:
        return accept_open_record(
            record, trust=self.trust, recipient_key={self.kid: self.key}.get, hub_device_id="fuzzed", now_ms=NOW_MS
        )


def envelope() -> Made:
    """Nothing opens but what was sealed. The first byte says in which session it is opened."""
    house = _Session()
    openers, seeds = list[Opener](), list[bytes]()
    for number, suite in enumerate(STRONGEST_FIRST):
        record, sealer = house.opened(suite, Lane(number % 2))
        openers.append(house.accept(record))
        seeds += [bytes([number]) + sealer.seal(a_frame(seq)) for seq in range(3)]
    sealed = frozenset(seeds)

    def run(data: bytes) -> None:
        which, body = data[:1], data[1:]
        try:
            parse_header(body)
            openers[(which or b"\0")[0] % len(openers)].open(body)
        except Rejected:
            return
        assert bytes([which[0] % len(openers)]) + body in sealed, "an envelope opened that nobody sealed"

    return run, seeds


def open_record() -> Made:
    """No record is believed but those that the device signed."""
    house = _Session()
    records = [house.opened(suite)[0] for suite in STRONGEST_FIRST]

    def run(data: bytes) -> None:
        named_recipient(data)
        try:
            house.accept(data)
        except Rejected:
            return
        assert data in records, "an open record was believed that nobody signed"

    return run, records


def signed_open_record() -> Made:
    """A device with a true certificate signs anything: it is refused, or has the form that it must have."""
    house = _Session()
    unsigned = [house.opened(suite)[0][: -envelopes._SIGNATURE_BYTES] for suite in STRONGEST_FIRST]

    def run(data: bytes) -> None:
        try:
            opener = house.accept(data + envelopes._sign(house.device.key, data))
        except Rejected:
            return
        assert opener.device == "fuzzed"
        assert opener.opened_ms <= NOW_MS + 86_400_000

    return run, unsigned


def device_orders() -> Made:
    """What a device hears through its twin and its methods: receipts, recipients, intervals, commands."""
    house = _Session()
    record, sealer = house.opened("A")
    receipt = house.accept(record).make_receipt(0, (), NOW_MS)
    controls = Controls(("gsr_uS", "room_temp_C"), 2.0)
    names = ("sensor", "frame_interval", "identify", "tamper", "?")

    def run(data: bytes) -> None:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return
        for hear in (sealer.check_receipt, Recipient.from_json):
            try:
                heard = hear(value)
            except Rejected:
                continue
            assert hear != sealer.check_receipt or (heard.upto or 0) <= MAX_MESSAGES  # type: ignore[union-attr]
        assert interval_s(value) is None or 0 < float(value) <= 60
        for name in names:
            assert answer(controls, name, value)[0] in (200, 400, 404)

    words = [receipt, house.recipient.to_json(), {"signal": "gsr", "connected": False}, {"seconds": 5}, 2.5]
    return run, [json.dumps(word).encode() for word in words]


def renewals() -> Made:
    """What a device asks of the registrar, and what it takes as the answer."""
    house = _Session()
    key = certificates.new_key()
    request = make_renewal(house.device, key, NOW_MS)

    def run(data: bytes) -> None:
        with suppress(Rejected):
            assert prove_renewal(data, house.trust, NOW_MS).device == "fuzzed"
        with suppress(ValueError, RecursionError, Rejected):
            parse_request(json.loads(data))
        with suppress(ValueError, RecursionError, Rejected):
            chain = check_answer(house.device, key, parse_answer(json.loads(data)), NOW_MS)
            raise AssertionError(f"no CA signed {key}, and yet {chain} was taken")

    return run, [request, json.dumps(make_answer([house.device.certificate])).encode()]
