"""How fast and how large envelopes are, beside sealing each message to an RSA key, in one run on one machine.

The other algorithm is what published IoT-twin designs do: a fresh AES-128-GCM key for each message, sent along under
RSA-2048-OAEP. Both seal and open the same 2 KiB frame. Prints messages per second, the ratio, and bytes added.

    python -m benchmarks.envelope [--seconds 2]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from security.envelope import Lane, accept_open_record, open_session, sign_recipient
from security.identity import create_ca, issue_device, issue_engine, wall_clock_ms
from security.keys import create_recipient_key

FRAME_BYTES = 2048
BATCH = 20


def session_pair(home: Path) -> tuple[bytes, Callable[[bytes], bytes], Callable[[bytes], bytes], Callable[[], object]]:
    """The open record, seal, open, and the engine's acceptance of the record."""
    ca = create_ca(home / "ca")
    device, engine = issue_device(ca, "bench", home / "d"), issue_engine(ca, home / "e")
    kid, key = create_recipient_key()
    now_ms = wall_clock_ms()
    recipient = sign_recipient(engine, key.public_key().public_bytes_raw(), device_id="bench", now_ms=now_ms)
    record, sealer = open_session(device, recipient, epoch=1, lane=Lane.LIVE, now_ms=now_ms)

    def accept() -> object:
        return accept_open_record(
            record, trust=ca.trust, recipient_key={kid: key}.get, hub_device_id="bench", now_ms=now_ms
        )

    opener = accept_open_record(
        record, trust=ca.trust, recipient_key={kid: key}.get, hub_device_id="bench", now_ms=now_ms
    )
    return record, sealer.seal, lambda data: opener.open(data)[1], accept


def rsa_pair() -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    """Seal and open with a fresh AES-128-GCM key under RSA-2048-OAEP for each message."""
    private = rsa.generate_private_key(65537, 2048)
    public, size = private.public_key(), private.key_size // 8
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)

    def seal(frame: bytes) -> bytes:
        key, nonce = os.urandom(16), os.urandom(12)
        return public.encrypt(key, oaep) + nonce + AESGCM(key).encrypt(nonce, frame, None)

    def open_(data: bytes) -> bytes:
        key = private.decrypt(data[:size], oaep)
        return AESGCM(key).decrypt(data[size : size + 12], data[size + 12 :], None)

    return seal, open_


def rate(action: Callable[[], object], seconds: float) -> float:
    """Calls of `action` per second, over `seconds`."""
    action()
    calls, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        for _ in range(BATCH):
            action()
        calls += BATCH
    return calls / spent


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=2.0, help="spent on each row (default: 2)")
    seconds = parser.parse_args().seconds
    frame = os.urandom(FRAME_BYTES)
    with tempfile.TemporaryDirectory() as home:
        record, seal, open_, accept = session_pair(Path(home))
        seal_rsa, open_rsa = rsa_pair()
        sealed, sealed_rsa = seal(frame), seal_rsa(frame)
        ours = rate(lambda: open_(seal(frame)), seconds)
        theirs = rate(lambda: open_rsa(seal_rsa(frame)), seconds)
        accepts = rate(accept, seconds)
    print(f"frame of {FRAME_BYTES} B        seal + open per s   bytes added")
    print(f"session envelope (suite A)  {ours:12,.0f}        {len(sealed) - FRAME_BYTES:6d}")
    print(f"RSA-2048-OAEP + AES-128-GCM {theirs:12,.0f}        {len(sealed_rsa) - FRAME_BYTES:6d}")
    print(f"ratio                       {ours / theirs:12.1f}")
    print(f"open record: {len(record)} B once a session; the engine accepts {accepts:,.0f} per s")


if __name__ == "__main__":
    main()
