"""Recipient keys: what a device seals to. One assignment, one week; the private half lies wrapped in the store.

It is wrapped under the secret of the patient for whom the device was given it. Once that is destroyed, her raw
envelopes are unreadable, in every copy.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import cbor2

from security.errors import Rejected
from security.identity import EngineIdentity
from security.keys import MasterKey, RecipientKey, create_recipient_key, recipient_from_bytes, recipient_to_bytes
from security.recipient import RECIPIENT_LIFE_MS, Recipient, sign_recipient
from security.suite import STRONGEST_FIRST

log = logging.getLogger(__name__)

RENEW_BEFORE_MS = 24 * 3600 * 1000
_CONTEXT = b"recipient|"
_PAIR = cbor2.dumps(["", b""])[:1]  # how a list of two begins


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
        self._patients: dict[bytes, str] = {}
        for kid, blob in stored.items():
            try:
                patient, secret, device, end_ms = open_stored(master, kid, blob)
            except Rejected as error:  # of an erased patient, come back with an old copy; it is swept away
                log.warning("the recipient key %s can't be opened (%s); it is left out", kid.hex(), error.reason)
                continue
            self._patients[kid] = patient
            self._keys[device, kid] = recipient_from_bytes(secret)
            self._ends_ms[device] = max(end_ms, self._ends_ms.get(device, 0))

    def private(self, device: str, kid: bytes) -> RecipientKey | None:
        """The private key that `device` was told to seal to, or None where it was destroyed or never hers."""
        return self._keys.get((device, kid))

    def patient_of(self, kid: bytes) -> str:
        """For whom the device was given the key; empty where that was not written down."""
        return self._patients.get(kid, "")

    def create(self, device: str, now_ms: int, patient: str) -> tuple[Recipient, bytes, bytes]:
        """(signed public key for the device, kid, wrapped private key for the store). `patient`: for whom it speaks."""
        kid, key = create_recipient_key()
        now_ms = max(
            now_ms, self._ends_ms.get(device, 0) - RECIPIENT_LIFE_MS + 1
        )  # else the device keeps the one it has
        recipient = sign_recipient(
            self._identity, key.public_key().public_bytes_raw(), device_id=device, now_ms=now_ms,
            suites=self._suites, xwing_key=key.xwing_public,
        )  # fmt: skip
        self._keys[device, kid] = key
        self._ends_ms[device] = recipient.not_after_ms
        self._patients[kid] = patient
        stored = cbor2.dumps([recipient_to_bytes(key), device, recipient.not_after_ms])
        return recipient, kid, seal_stored(self._master, kid, patient, stored)

    def due(self, now_ms: int) -> list[str]:
        """Devices whose newest key ends within a day."""
        return [device for device, end_ms in self._ends_ms.items() if end_ms - now_ms < RENEW_BEFORE_MS]


def seal_stored(master: MasterKey, kid: bytes, patient: str, body: bytes) -> bytes:
    """An entry of the store: whose it is, and the key, wrapped under her secret."""
    entry: bytes = cbor2.dumps([patient, master.wrap(body, _CONTEXT + kid, patient if master.home else None)])
    return entry


def stored_wrap(blob: bytes) -> tuple[str, bytes]:
    """(whose it is, the wrap) of an entry of the store; nobody's, where it was written before that was kept."""
    if blob[:1] != _PAIR:
        return "", blob
    patient, wrapped = cbor2.loads(blob)
    return str(patient), bytes(wrapped)


def unwrap_stored(master: MasterKey, kid: bytes, blob: bytes) -> tuple[str, bytes]:
    """(whose it is, what :func:`seal_stored` wrapped). Raises Rejected."""
    patient, wrapped = stored_wrap(blob)
    return patient, master.unwrap(wrapped, _CONTEXT + kid, patient or None)


def open_stored(master: MasterKey, kid: bytes, blob: bytes) -> tuple[str, bytes, str, int]:
    """(patient, 32 secret bytes, device, when it ends in ms). Raises Rejected."""
    patient, body = unwrap_stored(master, kid, blob)
    secret, device, end_ms = cbor2.loads(body)
    return patient, secret, device, end_ms
