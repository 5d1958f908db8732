"""That a patient was erased, in a form that nobody but this house can make, and that can be told again and again.

A tombstone is one line of JSON, signed. The house keeps each in two places that are backed up apart: in the key
directory (``erased``) and in the database. At every start each place gets what only the other one has, so that to
restore an old copy of one of them brings nobody back. The patient stands in it under a hash of her id.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security import canonical, signing
from security.errors import Reason, Rejected

_DOMAIN = "everbeat/1 erased"
MAX_LINE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Who was erased (by name: :func:`security.keyhome.name_of`), when (UTC) and by whom."""

    name: bytes
    t_ms: int
    who: str

    @property
    def when(self) -> str:
        """The time, for people."""
        return datetime.fromtimestamp(self.t_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

    def sign(self, key: Ed25519PrivateKey) -> bytes:
        """The line that proves it, without its newline."""
        proof = base64.b64encode(signing.sign(self._signed(), key)).decode()
        return json.dumps({"name": self.name.hex(), "t_ms": self.t_ms, "who": self.who, "signature": proof}).encode()

    @classmethod
    def from_bytes(cls, line: bytes, signers: signing.Signers) -> Tombstone:
        """The inverse of :meth:`sign`. Raises Rejected on a line that none of `signers` made."""
        try:
            facts: Any = json.loads(line) if len(line) <= MAX_LINE_BYTES else None
            stone = cls(bytes.fromhex(facts["name"]), int(facts["t_ms"]), str(facts["who"]))
            proof = base64.b64decode(facts["signature"], validate=True)
        except (ValueError, TypeError, KeyError) as error:
            raise Rejected(Reason.MALFORMED, "a tombstone", "another line", "nobody was erased by it") from error
        signing.check(stone._signed(), proof, signers)
        return stone

    def _signed(self) -> bytes:
        return canonical.encode([_DOMAIN, self.name, self.t_ms, self.who])
