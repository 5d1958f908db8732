"""Proof bundles: what an auditor is handed, and what it proves on her machine, without the house.

A bundle is JSON: a checkpoint (a signed note with witnesses' cosignatures), records of the log with their inclusion
proofs, maybe an earlier checkpoint with the proof that the log only grew since. :func:`prove` believes only keys that
the caller brings. Pure.

    {"format": "everbeat/1 proof", "key": vkey, "checkpoint": note,
     "records": [{"index": 7, "record": {"stream_id": …, "device": …, "epoch": …, "lane": …, "seq": …,
                  "ciphertext_sha256": hex}, "envelope": base64 or absent, "inclusion": [base64, …]}
                 or {"index": 7, "audit": base64 of the entry, "inclusion": …}],
     "earlier": {"checkpoint": note or "", "size": n, "consistency": [base64, …]} or absent}
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from security import note
from security.audit import AuditEvent
from security.checkpoint import Checkpoint
from security.errors import Reason, Rejected, SecurityError
from security.log import RecordEntry, ciphertext_hash, read_audit_entry
from security.merkle import leaf_hash, verify_consistency, verify_inclusion
from security.note import LOG, Signature, VerifierKey

FORMAT = "everbeat/1 proof"
MAX_BUNDLE_BYTES = 64 * 2**20
_NOTHING = "nothing is proven"


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint whose signatures were checked."""

    point: Checkpoint
    log: bool  # signed by a log key that the caller brought
    witnesses: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class ProvenRecord:
    """A record that is in the tree. `envelope` is whether its envelope was there, and is the one that was logged."""

    index: int
    entry: RecordEntry | None
    event: AuditEvent | None
    envelope: bool


@dataclass(frozen=True, slots=True)
class Proven:
    """What a bundle proves."""

    now: Signed
    records: tuple[ProvenRecord, ...]
    earlier: Signed | None
    own_key: VerifierKey | None  # the key that the bundle itself names, where the caller brought none


def new_bundle(signed: str, key: str) -> dict[str, Any]:
    """A bundle without records. `key`: the log's verifier key, for who has no other way to it."""
    return {"format": FORMAT, "key": key, "checkpoint": signed, "records": []}


def record_json(
    index: int, entry: RecordEntry, steps: Sequence[bytes], envelope: bytes | None = None
) -> dict[str, Any]:
    """One record of a bundle. `envelope` is base64."""
    record = {
        "stream_id": entry.stream_id, "device": entry.device, "epoch": entry.epoch, "lane": entry.lane,
        "seq": entry.seq, "ciphertext_sha256": entry.ciphertext_hash.hex(),
    }  # fmt: skip
    found = {"index": index, "record": record, "inclusion": _texts(steps)}
    return found if envelope is None else found | {"envelope": envelope.decode()}


def audit_json(index: int, entry: bytes, steps: Sequence[bytes]) -> dict[str, Any]:
    """One audit event of a bundle, with the salt that its leaf was hashed with."""
    return {"index": index, "audit": base64.b64encode(entry).decode(), "inclusion": _texts(steps)}


def earlier_json(signed: str, size: int, steps: Sequence[bytes]) -> dict[str, Any]:
    """That the log only grew since a tree of `size` leaves."""
    return {"checkpoint": signed, "size": size, "consistency": _texts(steps)}


def prove(
    text: str, log_keys: Sequence[VerifierKey], witness_keys: Sequence[VerifierKey] = (), saved: str | None = None
) -> Proven:
    """What the bundle `text` proves. `saved`: a checkpoint that the auditor kept; it takes the earlier one's place.

    Raises Rejected where anything in it does not hold. Where no key is brought, the bundle's own is used, and `now.log`
    is False: it proves that the bundle agrees with itself, and not whose it is.
    """
    bundle = _parsed(text)
    own = None if log_keys else VerifierKey.parse(_text(bundle, "key"))
    keys = [*log_keys, *([] if own is None else [own]), *witness_keys]
    now = check_note(_text(bundle, "checkpoint"), keys, own is None)
    listed = bundle.get("records")
    if not isinstance(listed, list):
        raise _malformed("a list of records")
    records = tuple(_record(item, now.point) for item in listed)
    return Proven(now, records, _earlier(bundle.get("earlier"), saved, now, keys, own is None), own)


def checkpoint_of(text: str) -> str:
    """The signed note of a bundle. Raises Rejected where it is none; proves nothing (:func:`prove` does)."""
    return _text(_parsed(text), "checkpoint")


def check_note(signed: str, keys: Sequence[VerifierKey], ours: bool = True) -> Signed:
    """A checkpoint that is signed by one of the log keys in `keys`. Raises Rejected where it is not."""
    body, found = note.check(signed, keys)
    point = Checkpoint.parse(body)
    if not any(s.key.kind == LOG and s.key.name == point.origin for s in found):
        known = ", ".join(sorted(key.name for key in keys if key.kind == LOG)) or "nobody"
        got = f"one of {point.origin} without its signature"
        raise Rejected(Reason.UNTRUSTED, f"a checkpoint signed by {known}", got, _NOTHING)
    return Signed(point, ours, tuple(s for s in found if s.key.kind != LOG))


def _earlier(item: Any, saved: str | None, now: Signed, keys: Sequence[VerifierKey], ours: bool) -> Signed | None:
    if item is None and saved is None:
        return None
    if not isinstance(item, dict):
        raise _malformed("a proof that the log only grew since the checkpoint that was kept")
    before = check_note(saved or _text(item, "checkpoint"), keys, ours)
    same = before.point.origin == now.point.origin
    steps = _hashes(item.get("consistency"))
    if not same or not verify_consistency(before.point.size, now.point.size, steps, before.point.root, now.point.root):
        raise Rejected(
            Reason.FORGED, f"a log that only grew from {before.point.size} to {now.point.size} leaves",
            "a proof that does not hold", "the log was rewritten, or the two checkpoints are of different logs",
        )  # fmt: skip
    return before


def _record(item: Any, point: Checkpoint) -> ProvenRecord:
    if not isinstance(item, dict) or type(item.get("index")) is not int:
        raise _malformed("a record with its index")
    index, entry, event, intact = item["index"], None, None, False
    if "audit" in item:
        raw = note.unbase64(_text(item, "audit"))
        event = AuditEvent.from_bytes(read_audit_entry(raw)[1])
    else:
        entry = _entry(item.get("record"))
        raw = entry.to_bytes()
        intact = "envelope" in item
        if intact and ciphertext_hash(note.unbase64(_text(item, "envelope"))) != entry.ciphertext_hash:
            raise Rejected(Reason.FORGED, f"the envelope that was logged as {index}", "another one", _NOTHING)
    if not verify_inclusion(leaf_hash(raw), index, point.size, _hashes(item.get("inclusion")), point.root):
        raise Rejected(Reason.FORGED, f"record {index} in the signed tree", "a proof that does not hold", _NOTHING)
    return ProvenRecord(index, entry, event, intact)


def _entry(fields: Any) -> RecordEntry:
    try:
        digest = bytes.fromhex(fields["ciphertext_sha256"])
        epoch, lane, seq = (fields[name] for name in ("epoch", "lane", "seq"))
        if type(epoch) is type(lane) is type(seq) is int:
            found = RecordEntry(fields["stream_id"], fields["device"], epoch, lane, seq, digest)
            found.to_bytes()
            return found
    except (TypeError, KeyError, ValueError, AttributeError, SecurityError):
        pass
    raise _malformed("the fields of a stored envelope")


def _parsed(text: str) -> dict[str, Any]:
    if len(text) <= MAX_BUNDLE_BYTES:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and value.get("format") == FORMAT:
            return value
    raise _malformed("a proof bundle")


def _text(item: dict[str, Any], name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise _malformed(f"a text '{name}'")
    return value


def _hashes(value: Any) -> list[bytes]:
    if not isinstance(value, list) or not all(isinstance(step, str) for step in value):
        raise _malformed("a list of hashes")
    return [note.unbase64(step) for step in value]


def _texts(hashes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(h).decode() for h in hashes]


def _malformed(expected: str) -> Rejected:
    return Rejected(Reason.MALFORMED, expected, "another value", _NOTHING)
