"""What proves that a patient's stored records are untouched, over HTTP: /data/<patient>/proof/state, /records, /proof.

A record of the log is one sealed message of a device: all its channels for the time of one frame, known by when it
arrived. Times are asked by arrival, and of a device only while it was this patient's. Whoever may see her may see that
her log holds and the hashes of her records; a proof leaves the house, and needs the right to export like any file.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request

from security.rate import Buckets, TooMany
from twin_engine.registry import PatientCard
from twin_engine.store.errors import StoreCorrupt, StoreError
from twin_engine.store.feed import Feed, LogRecord, Logs
from twin_engine.store.keys import written
from twin_engine.store.log_proofs import to_file
from twin_engine.store.log_records import MAX_RECORDS
from web.access import Access
from web.asked import Asked, Refused, asked
from web.data import attachment, let_out
from web.fields import Wrong
from web.relay import Relay

log = logging.getLogger(__name__)

NEWEST, NEWEST_MOST = 8, 50  # records a list has, and may have
LOOK_BACK_MS = 600_000
MAX_PROOF_S = 3600.0
ARRIVES_WITHIN_S = 15.0  # after its readings: what is on screen until now arrived until then
LOOKS, PROOFS = (4.0, 60), (0.2, 12)  # (a second, at once), of one person
_SHOWN = ("t_ms", "origin", "key", "size", "signed_ms", "upto_ms", "whole_ms", "witnesses", "witnesses_wanted", "alarm")


def register(server: Flask, feed: Feed, relay: Relay, access: Access) -> None:
    """Serve them, to who may see the patient, and to nobody faster than a page asks."""

    def serve(name: str, rate: tuple[float, int], answer: Callable[[PatientCard], Response]) -> None:
        buckets = Buckets(*rate, time.monotonic)

        def view(patient: str) -> Response:
            try:
                card = relay.card(patient)
                if card is None:
                    raise Refused(404, f"expected a patient who is monitored here, got {patient[:64]!r}")
                person = access.person()
                buckets.take(person.name if person else "")
                return answer(card)
            except Refused as refused:
                return Response(f"{refused}\n", refused.status, mimetype="text/plain")
            except Wrong:  # what she may do was changed a moment ago
                return Response(
                    "expected somebody who may see this, got another; nothing was read\n", 403, mimetype="text/plain"
                )
            except TooMany:
                text = f"expected at most {60 * rate[0]:.0f} a minute, got more; nothing was read\n"
                return Response(text, 429, mimetype="text/plain")
            except StoreError as error:
                log.warning("the log of %s can't be read: %s", patient, error)
                return Response("the record store can't be reached; nothing was read\n", 503, mimetype="text/plain")

        server.add_url_rule(f"/data/<patient>/{name}", f"data-{name}", view, methods=["GET"])

    serve("proof/state", LOOKS, lambda card: _json(state_of(feed.logs, card.id)))
    serve("records", LOOKS, lambda card: _json({"records": newest(feed.logs, card.id, _count())}))
    serve("proof", PROOFS, lambda card: _proof(feed.logs, card, access))


def state_of(logs: Logs, patient: str) -> dict[str, Any]:
    """What the notary last said, and the server's time now; only that where no notary ever spoke."""
    state = logs.state(patient)
    return {"now_ms": _now_ms(), **{name: state[name] for name in _SHOWN if name in state}}


def newest(logs: Logs, patient: str, count: int) -> list[dict[str, Any]]:
    """The newest records of her devices, newest first; of the last ten minutes."""
    now_ms = _now_ms()
    found = [
        record
        for held in logs.held(patient, now_ms - LOOK_BACK_MS, now_ms)
        for record in logs.newest(patient, held.device, held.t0_ms, held.t1_ms, count)
    ]
    return [_row(record) for record in sorted(found, key=lambda record: record.index)[::-1][:count]]


def _row(record: LogRecord) -> dict[str, Any]:
    entry = record.entry
    return {
        "index": record.index, "t_ms": written(entry.stream_id)[0], "device": entry.device, "seq": entry.seq,
        "lane": entry.lane, "hash": entry.ciphertext_hash.hex(), "leaf": record.leaf.hex(), "covered": record.covered,
    }  # fmt: skip


def _proof(logs: Logs, card: PatientCard, access: Access) -> Response:
    a = asked(card, card.id, request.args, number_needed=True)
    if a.span_s > MAX_PROOF_S:
        raise Refused(400, f"expected at most {MAX_PROOF_S:.0f} s, got {a.span_s:.0f} s; nothing was given out")
    let_out(access, a, "proof")
    wanted = [record for record in _records(logs, a) if record.covered]
    if not wanted:
        raise Refused(409, "expected records that a signed checkpoint covers, got none yet; nothing was given out")
    try:
        text = to_file(logs.bundle(card.id, wanted))
    except StoreCorrupt as error:
        raise Refused(409, f"{error}; nothing was given out") from error
    headers = {"Content-Disposition": attachment(a, "proof.json")}
    return Response(text, mimetype="application/json", headers=headers)


def _records(logs: Logs, a: Asked) -> list[LogRecord]:
    t0_ms, t1_ms = int(a.t0_s * 1000), int((a.t1_s + ARRIVES_WITHIN_S) * 1000)
    found = list[LogRecord]()
    for held in logs.held(a.card.id, t0_ms, t1_ms):
        found += logs.records(a.card.id, held.device, held.t0_ms, held.t1_ms, MAX_RECORDS + 1)
        if len(found) > MAX_RECORDS:
            raise Refused(400, f"expected at most {MAX_RECORDS} records, got more; ask for less time")
    return sorted(found, key=lambda record: record.index)


def _count() -> int:
    text = request.args.get("limit", str(NEWEST))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= NEWEST_MOST:
        raise Refused(400, f"expected limit= from 1 to {NEWEST_MOST}, got {text[:40]!r}; nothing was read")
    return int(text)


def _json(facts: dict[str, Any]) -> Response:
    return Response(json.dumps(facts, allow_nan=False), mimetype="application/json")


def _now_ms() -> int:
    return time.time_ns() // 10**6
