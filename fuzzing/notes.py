"""Targets on an auditor's machine and at a witness: signed notes, checkpoints, proof bundles, requests to cosign."""

from __future__ import annotations

import contextlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fuzzing.targets import Run
from security import note, proofs
from security.checkpoint import Checkpoint
from security.errors import Rejected
from security.log import RecordEntry
from security.merkle import leaf_hash
from security.note import LOG, VerifierKey
from security.witness import Request

Made = tuple[Run, list[bytes]]


def notes() -> Made:
    """Nothing is proven but what the log's key signed. What is read is written again the same."""
    key = Ed25519PrivateKey.generate()
    verifier = note.verifier_of("everbeat/fuzzed", LOG, key)
    entry = RecordEntry("1700000000000-0", "esp32-01", 1, 0, 7, bytes(32))
    point = Checkpoint("everbeat/fuzzed", 1, leaf_hash(entry.to_bytes()))
    signed = note.assemble(point.text, [note.sign_line(point.text, "everbeat/fuzzed", key)])
    bundle = proofs.new_bundle(signed, str(verifier)) | {"records": [proofs.record_json(0, entry, [])]}
    proofs.prove(json.dumps(bundle), [verifier])  # or the seed is none

    def run(data: bytes) -> None:
        text = data.decode(errors="replace")
        request = Request.parse(text)
        assert request is None or Request.parse(request.to_text()) == request
        with contextlib.suppress(Rejected):
            assert str(VerifierKey.parse(text)) == text.strip()
        with contextlib.suppress(Rejected):
            assert note.check(text, [verifier])[0] == point.text or not note.check(text, [verifier])[1]
        try:
            proven = proofs.prove(text, [verifier])
        except Rejected:
            return
        assert proven.now.point == point, "a checkpoint was believed that nobody signed"
        assert all(record.event is None and record.entry == entry for record in proven.records)

    words = [signed, json.dumps(bundle), str(verifier), Request(0, (), signed).to_text()]
    return run, [word.encode() for word in words]
