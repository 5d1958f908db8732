"""What the audit log holds: who accessed, allowed or configured what, and when. Never a reading, a key or a password.

A closed list of kinds, one fixed form (deterministic CBOR of ``["everbeat/1 audit", t_ms, who, kind, about, facts]``),
so that a leaf of the log can mean one event only. Where events are kept is left to the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from security import canonical
from security.errors import Reason, Rejected, SecurityError

# What may be told. The first word says what it is about.
KINDS = frozenset({
    "access.view", "access.export", "access.refused", "access.break-glass",
    "person.sign-in", "person.sign-in-failed", "person.sign-out", "person.added", "person.changed", "person.granted",
    "person.ungranted", "session.ended",
    "device.enrolled", "device.renewed", "device.revoked", "device.refused",
    "patient.act", "patient.consent", "patient.erased",
    "key.rotated", "key.missing", "key.returned", "list.ending", "list.ended", "config.changed", "log.alarm",
})  # fmt: skip

MAX_EVENT_BYTES = 4096
_DOMAIN = "everbeat/1 audit"
_MAX_TEXT, _MAX_FACTS = 256, 16


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """`who` did `kind` to `about` (a patient, device, account or setting; "" = the house). `t_ms` is UTC."""

    t_ms: int
    who: str
    kind: str
    about: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises SecurityError on an event that could not be told: a fault of the caller."""
        texts = [self.who, self.about, *self.facts, *self.facts.values()]
        short = all(isinstance(text, str) and len(text) <= _MAX_TEXT for text in texts)
        if self.kind not in KINDS or not self.who or not short or len(self.facts) > _MAX_FACTS or self.t_ms < 0:
            raise SecurityError(
                f"expected an audit event of a known kind, with short texts and a time, got {self.kind!r:.80} with "
                f"{len(self.facts)} facts; it was not written"
            )

    def to_bytes(self) -> bytes:
        """The event's only form."""
        return canonical.encode([_DOMAIN, self.t_ms, self.who, self.kind, self.about, dict(self.facts)])

    @classmethod
    def from_bytes(cls, data: bytes) -> AuditEvent:
        """The inverse of :meth:`to_bytes`. Raises Rejected on other bytes."""
        value: Any = canonical.decode(data, "an audit event") if len(data) <= MAX_EVENT_BYTES else ()
        try:
            domain, t_ms, who, kind, about, facts = value
            if domain == _DOMAIN and type(t_ms) is int and isinstance(facts, dict):
                return cls(t_ms, who, kind, about, facts)
        except (TypeError, ValueError, SecurityError):
            pass
        raise Rejected(Reason.MALFORMED, "an audit event", "another value", "it was left out of the audit log")
