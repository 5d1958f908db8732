"""The stored past over HTTP: /data/<patient>/history, /events, /compare, /export.csv and /report.

Answers are for this server's own pages and for people who save them; each names its patient, and an export or a report
must be asked for with the record's number that the screen shows, so that nobody takes another patient's away.
What is asked is checked in :mod:`web.asked`; how files look is in :mod:`web.export` and :mod:`web.report`.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, request, stream_with_context

from security.people import Right
from twin_engine.messages import FrameKind, encode_wires
from twin_engine.store.errors import StoreError
from twin_engine.store.feed import Feed
from twin_engine.store.thin import COARSE_US, thin
from web.access import Access
from web.asked import MAX_WHOLE_S, Asked, Refused, asked, slice_us
from web.channels import describe, tolerance_of
from web.compare import Score, gaps, pooled, runs, score
from web.export import csv_lines
from web.pages.frame import language
from web.relay import Relay
from web.report import report

log = logging.getLogger(__name__)


def register(server: Flask, feed: Feed, relay: Relay, access: Access) -> None:
    """Serve them. What leaves the house (an export, a report) needs the right to export, and is audited first."""

    def serve(name: str, answer: Callable[[Feed, Asked], Response], number_needed: bool = False) -> None:
        def view(patient: str) -> Response:
            try:
                wanted = asked(relay.card(patient), patient, request.args, number_needed)
                if number_needed:
                    let_out(access, wanted, name)
                return answer(feed, wanted)
            except Refused as refused:
                return Response(f"{refused}\n", refused.status, mimetype="text/plain")
            except StoreError as error:
                log.warning("history of %s can't be read: %s", patient, error)
                return Response("the record store can't be reached; nothing was read\n", 503, mimetype="text/plain")

        server.add_url_rule(f"/data/<patient>/{name}", f"data-{name}", view, methods=["GET"])

    serve("history", _history)
    serve("events", _events)
    serve("compare", _compare)
    serve("export.csv", lambda f, a: _export(f, a, access.who()), number_needed=True)
    serve("report", lambda f, a: _report(f, a, access.who()), number_needed=True)

    @server.get("/data/<path:_>")
    def nothing(_: str) -> Response:  # else Dash would answer with its page
        return Response("there is no such data here\n", 404, mimetype="text/plain")


def let_out(access: Access, a: Asked, name: str) -> None:
    """Audit that this leaves the house. Raises Refused where she may not take it away, StoreError."""
    if not access.may(Right.EXPORT, a.card.id):
        raise Refused(403, "expected somebody who may export, got another role; nothing was given out")
    person = access.person()
    facts = {"what": name, "from": f"{a.t0_s:.0f}", "to": f"{a.t1_s:.0f}"}
    access.tell("access.export", person.name if person else "nobody", a.card.id, facts)


def _history(feed: Feed, a: Asked) -> Response:
    if not a.points and a.span_s > MAX_WHOLE_S:
        raise Refused(400, f"expected points= for more than {MAX_WHOLE_S:.0f} s, got none; nothing was read")
    size = slice_us(a.span_s, a.points, len(a.channels)) if a.points else 0
    coarse = size >= COARSE_US
    past = a.past(feed, a.view, coarse)
    if a.points:
        size = max(size, slice_us(a.span_s, a.points, len(past.samples)))
    samples = [
        thin(s, size if len(s) > a.points else 1, marked=coarse) if a.points else s for s in past.samples.values()
    ]  # what is drawn has its holes marked; what is read number by number is given as it is
    bodies = encode_wires(FrameKind.SNAPSHOT, time.time(), [s.samples() for s in samples])
    if len(bodies) > 1:
        raise Refused(400, "expected readings that fit one answer, got more uneven ones; ask for less time, or points=")
    return Response(bodies[0], mimetype="application/octet-stream")


def _events(feed: Feed, a: Asked) -> Response:
    shown, known = (a.past(feed, view, coarse=True) for view in ("live", "best"))
    return _json(
        {
            "from": a.t0_s, "to": a.t1_s, "now": time.time(), "events": shown.events, "devices": shown.devices,
            "channels": {c: describe(c) for c in shown.samples | known.samples},
            "shown": {c: runs(s) for c, s in shown.samples.items()},
            "known": {c: runs(s) for c, s in known.samples.items()},
            "gaps": {c: gaps(s) for c, s in shown.samples.items()},
        }
    )  # fmt: skip


def _compare(feed: Feed, a: Asked) -> Response:
    """Every sample counts, so a long stretch is held against the truth part by part: never hours decoded at once."""
    parts: dict[str, list[Score]] = {}
    for part in _parts(a):
        shown, known = (part.past(feed, view).samples for view in ("live", "best"))
        for c in shown | known:
            parts.setdefault(c, []).append(score(shown.get(c), known.get(c), tolerance_of(c)))
    return _json({"from": a.t0_s, "to": a.t1_s, "channels": {c: pooled(found).to_json() for c, found in parts.items()}})


def _parts(a: Asked) -> Iterator[Asked]:
    """The stretch in pieces of at most MAX_WHOLE_S; no sample lies in two."""
    start_s = a.t0_s
    while start_s + MAX_WHOLE_S < a.t1_s:
        yield replace(a, t0_s=start_s, t1_s=start_s + MAX_WHOLE_S - 1e-6)
        start_s += MAX_WHOLE_S
    yield replace(a, t0_s=start_s)


def _export(feed: Feed, a: Asked, who: str) -> Response:
    lines = csv_lines(feed, a, who, datetime.now(UTC))
    first = next(lines)  # a store that is down is answered as such, not with half a file

    def body() -> Any:
        yield first
        yield from lines

    return Response(
        stream_with_context(body()), mimetype="text/csv", headers={"Content-Disposition": attachment(a, "csv")}
    )


def _report(feed: Feed, a: Asked, who: str) -> Response:
    page = report(feed, a, who, datetime.now(UTC), language())
    return Response(page, mimetype="text/html", headers={"Content-Disposition": attachment(a, "html", "inline")})


def _json(facts: dict[str, Any]) -> Response:
    return Response(json.dumps(facts, allow_nan=False), mimetype="application/json")


def attachment(a: Asked, suffix: str, how: str = "attachment") -> str:
    """A file name out of letters, digits and dashes only, whatever the pseudonym holds."""
    name = re.sub(r"[^A-Za-z0-9-]+", "-", a.card.pseudonym).strip("-")[:40] or "patient"
    start, end = (f"{datetime.fromtimestamp(t, UTC):%Y%m%dT%H%M%SZ}" for t in (a.t0_s, a.t1_s))
    return f'{how}; filename="everbeat-{name}-{start}-{end}.{suffix}"'
