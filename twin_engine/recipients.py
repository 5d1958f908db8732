"""Recipient keys: what a device seals to. One assignment, one week; the private half lies wrapped in the store.

Destroying a patient's recipient keys makes her raw envelopes unreadable, in every copy.
"""

from __future__ import annotations

from collections.abc import Sequence

import cbor2

from security.identity import EngineIdentity
from security.keys import MasterKey, RecipientKey, create_recipient_key, recipient_from_bytes, recipient_to_bytes
from security.recipient import Recipient, sign_recipient
from security.suite import STRONGEST_FIRST

RENEW_BEFORE_MS = 24 * 3600 * 1000
_CONTEXT = b"recipient|"


class Recipients:
    """All recipient keys of a shard, and the newest of each device."""

    def __init__(
        self, master: MasterKey, identity: EngineIdentity, stored: dict[bytes, bytes],
        suites: Sequence[str] = STRONGEST_FIRST,
    ) -> None:  # fmt: skip
        """`suites`: what devices are offered."""
        self._suites = suites
        self._master = master
        self._identity = identity
        self._keys: dict[tuple[str, bytes], RecipientKey] = {}
        self._ends_ms: dict[str, int] = {}
        for kid, blob in stored.items():
            secret, device, end_ms = cbor2.loads(master.unwrap(blob, _CONTEXT + kid))
            self._keys[device, kid] = recipient_from_bytes(secret)
            self._ends_ms[device] = max(end_ms, self._ends_ms.get(device, 0))

    def private(self, device: str, kid: bytes) -> RecipientKey | None:
        """The private key that `device` was told to seal to, or None where it was destroyed or never hers."""
        return self._keys.get((device, kid))

    def create(self, device: str, now_ms: int) -> tuple[Recipient, bytes, bytes]:
        """(signed public key for the device, kid, wrapped private key for the store)."""
        kid, key = create_recipient_key()
        recipient = sign_recipient(
            self._identity, key.public_key().public_bytes_raw(), device_id=device, now_ms=now_ms,
            suites=self._suites, xwing_key=key.xwing_public,
        )  # fmt: skip
        self._keys[device, kid] = key
        self._ends_ms[device] = recipient.not_after_ms
        stored = cbor2.dumps([recipient_to_bytes(key), device, recipient.not_after_ms])
        return recipient, kid, self._master.wrap(stored, _CONTEXT + kid)

    def due(self, now_ms: int) -> list[str]:
        """Devices whose newest key ends within a day."""
        return [device for device, end_ms in self._ends_ms.items() if end_ms - now_ms < RENEW_BEFORE_MS]
