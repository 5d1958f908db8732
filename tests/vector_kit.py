"""Makes ``tests/vectors/envelope.json``: one session of each suite, byte for byte, for boards in another language.

    python -m tests.vector_kit

Everything is fixed: keys, certificate, times, and the random bytes in the order in which they are drawn (sid, then what
the suite needs). Signatures follow RFC 6979. Only ML-KEM's own randomness is the library's: suite C's ciphertext is an
input of its vector. The private keys are published here and good for nothing else.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from security import suite
from security.envelope import Lane, Recipient, open_session, sign_recipient
from security.identity import DeviceIdentity, create_ca, issue_device, issue_engine
from security.keys import RecipientKey, recipient_from_bytes

PATH = Path(__file__).with_name("vectors") / "envelope.json"
NOW_MS, EPOCH, DEVICE = 1_780_000_000_000, 7, "esp32-01"
FRAMES = (b"", b"frame", bytes(range(256)))
RECIPIENT = bytes(range(64))


def draws(data: bytes) -> Callable[[int], bytes]:
    """Bytes as they are listed, in place of randomness; more than are there is an error."""
    left = bytearray(data)

    def take(count: int) -> bytes:
        assert count <= len(left), "expected fewer random bytes"
        taken = bytes(left[:count])
        del left[:count]
        return taken

    return take


def scalar(identity: DeviceIdentity) -> str:
    return identity.key.private_numbers().private_value.to_bytes(32, "big").hex()


def session(name: str, identity: DeviceIdentity, recipient: Recipient, lane: Lane) -> dict[str, Any]:
    """One suite's open record, keys and messages."""
    random = bytes(range(100, 100 + 8)) + bytes(range(150, 150 + 64))
    drawn: list[bytes] = []
    source = draws(random)

    def noting(count: int) -> bytes:
        drawn.append(source(count))
        return drawn[-1]

    record, sealer = open_session(
        identity, recipient, epoch=EPOCH, lane=lane, now_ms=NOW_MS, random=noting, suites=(name,)
    )
    keys = sealer._keys
    return {
        "suite": name,
        "lane": int(lane),
        "random": b"".join(drawn).hex(),
        "open_record": record.hex(),
        "base_nonce": keys.base_nonce.to_bytes(keys.nonce_bytes, "big").hex(),
        "receipt_key": keys.receipt_key.hex(),
        "messages": [{"frame": frame.hex(), "envelope": sealer.seal(frame).hex()} for frame in FRAMES],
    }


def make() -> dict[str, Any]:
    """The whole file."""
    with tempfile.TemporaryDirectory() as home:
        ca = create_ca(Path(home) / "ca", now_ms=NOW_MS)
        identity = issue_device(ca, DEVICE, Path(home) / "d", now_ms=NOW_MS)
        engine = issue_engine(ca, Path(home) / "e", now_ms=NOW_MS)
        key: RecipientKey = recipient_from_bytes(RECIPIENT)
        recipient = sign_recipient(
            engine, key.public_key().public_bytes_raw(), device_id=DEVICE, now_ms=NOW_MS,
            suites=suite.STRONGEST_FIRST, xwing_key=key.xwing_public,
        )  # fmt: skip
        return {
            "device": DEVICE,
            "epoch": EPOCH,
            "created_ms": NOW_MS,
            "device_key": scalar(identity),
            "root": (ca.certificate.public_bytes(Encoding.DER)).hex(),
            "chain": [der.hex() for der in identity.chain_der],
            "recipient_secret": RECIPIENT.hex(),
            "recipient": recipient.to_json(),
            "sessions": [
                session(name, identity, recipient, lane)
                for name, lane in (("C", Lane.LIVE), ("A", Lane.LIVE), ("B", Lane.BACKFILL))
            ],
        }


def key_of(vectors: dict[str, Any]) -> ec.EllipticCurvePrivateKey:
    """The device's key."""
    return ec.derive_private_key(int(vectors["device_key"], 16), ec.SECP256R1())


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=1) + "\n")
