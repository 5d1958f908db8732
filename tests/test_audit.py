"""Audit events have one form, and only events that mean something can be made."""

from __future__ import annotations

import cbor2
import pytest

from security.audit import KINDS, AuditEvent
from security.errors import Rejected, SecurityError

EVENT = AuditEvent(1_700_000_000_000, "dr.meyer", "access.view", "p-7f3a", {"page": "room"})


def test_an_event_survives_its_bytes() -> None:
    assert AuditEvent.from_bytes(EVENT.to_bytes()) == EVENT


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_can_be_told(kind: str) -> None:
    assert AuditEvent.from_bytes(AuditEvent(0, "x", kind).to_bytes()).kind == kind


@pytest.mark.parametrize("wrong", [{"kind": "access.peek"}, {"who": ""}, {"about": "x" * 257}, {"t_ms": -1}])
def test_an_event_that_says_nothing_clear_is_a_fault_of_the_caller(wrong: dict[str, object]) -> None:
    with pytest.raises(SecurityError, match="expected an audit event"):
        AuditEvent(**({"t_ms": 0, "who": "x", "kind": "access.view"} | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", cbor2.dumps(["everbeat/2 audit", 0, "x", "access.view", "", {}]), EVENT.to_bytes() + b"\x00",
     cbor2.dumps(["everbeat/1 audit", 0, "x", "access.peek", "", {}]), b"\x00" * 5000],
)  # fmt: skip
def test_other_bytes_are_no_event(data: bytes) -> None:
    with pytest.raises(Rejected):
        AuditEvent.from_bytes(data)
