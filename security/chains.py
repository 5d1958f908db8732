"""Remembers certificate chains that were verified, so that an honest device's next session costs no chain again.

Only what was verified is remembered, so nobody fills the memory who has no certificate of ours. A remembered chain is
good for an hour, while every certificate of it is in force, and while the trust stays as it is: a revocation, another
root, a doubt about the list of revoked ones makes everybody a stranger again.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from security.errors import SecurityError
from security.trust import Trust

MAX_CHAINS = 4096
REMEMBER_MS = 3600 * 1000  # then a chain is verified again, whatever has changed about us


@dataclass(frozen=True, slots=True)
class _Known:
    key: ec.EllipticCurvePublicKey
    from_ms: int
    until_ms: int


class ChainCache:
    """A :class:`~security.trust.Trust` with a memory of at most `most` chains, the least used ones forgotten first."""

    def __init__(self, most: int = MAX_CHAINS) -> None:
        self._trust: Trust | None = None
        self._most = most
        self._known = OrderedDict[bytes, _Known]()
        self.hits = self.misses = 0

    def of(self, trust: Trust) -> ChainCache:
        """Itself, going by `trust` from now on. Whatever changed in it, every chain is verified again."""
        if trust != self._trust:
            self._trust = trust
            self._known.clear()
        return self

    def verify_device(
        self, chain_der: Sequence[bytes], expected_device_id: str, now_ms: int
    ) -> ec.EllipticCurvePublicKey:
        """As ``Trust.verify_device``: the public key of that device, or Rejected."""
        if self._trust is None:
            raise SecurityError("expected a trust to go by, got none; nobody is believed")
        name = _digest(chain_der, expected_device_id)
        known = self._known.get(name)
        if known and known.from_ms <= now_ms <= known.until_ms:
            self._known.move_to_end(name)
            self.hits += 1
            return known.key
        self.misses += 1
        key = self._trust.verify_device(chain_der, expected_device_id, now_ms)
        self._known[name] = _remembered(key, chain_der, now_ms)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return key


def _remembered(key: ec.EllipticCurvePublicKey, chain_der: Sequence[bytes], now_ms: int) -> _Known:
    chain = [x509.load_der_x509_certificate(der) for der in chain_der]
    from_ms = max(int(c.not_valid_before_utc.timestamp() * 1000) for c in chain)
    until_ms = min(int(c.not_valid_after_utc.timestamp() * 1000) for c in chain)
    return _Known(key, from_ms, min(until_ms, now_ms + REMEMBER_MS))


def _digest(chain_der: Sequence[bytes], device_id: str) -> bytes:
    whole = hashlib.sha256(device_id.encode())
    for der in chain_der:
        whole.update(len(der).to_bytes(4, "big") + der)
    return whole.digest()
