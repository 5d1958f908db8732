"""A small HTTP/1.1 server end (RFC 9112, by h11): whole requests in, whole responses out, keep-alive, bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs, unquote, urlsplit

import h11

from device.hub.listener import read_some
from device.hub.settings import KIB

_MAX_HEAD_BYTES = 16 * KIB
_MAX_BODY_BYTES = 256 * KIB
_MAX_FIELDS = 16
_IDLE_S = 120.0


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """Header names in lower case. `parts` is the path cut at its slashes, each part URL-decoded."""

    method: str
    path: str
    parts: tuple[str, ...]
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """`body` becomes JSON; None sends none."""

    status: int
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)


Answerer = Callable[[HttpRequest], Awaitable[HttpResponse]]


async def serve_http(answer: Answerer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests of one connection, one after the other, until it ends or breaks the protocol."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)
    while True:
        heads = list[h11.Request]()
        try:
            async with asyncio.timeout(_IDLE_S):
                request = await _receive(connection, reader, writer, heads)
        except h11.RemoteProtocolError as error:
            if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                status = error.error_status_hint if isinstance(error.error_status_hint, int) else 400
                _send(connection, writer, heads, HttpResponse(status, {"Message": f"ErrorCode:BadRequest;{error}"}))
            return
        if request is None:
            return
        _send(connection, writer, heads, await answer(request))
        await writer.drain()
        if connection.our_state is h11.MUST_CLOSE:
            return
        connection.start_next_cycle()


async def _receive(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heads: list[h11.Request]
) -> HttpRequest | None:
    """The next whole request; None where the client has left between two. Raises h11.RemoteProtocolError.

    Its head is in `heads` as soon as it has come, also where the rest is refused.
    """
    head, body = None, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                writer.write(connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            try:
                connection.receive_data(await read_some(reader))
            except ConnectionError:
                if head is None:
                    return None
                raise
        elif isinstance(event, h11.Request):
            head = event
            heads.append(event)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _MAX_BODY_BYTES:
                raise h11.RemoteProtocolError(f"expected at most {_MAX_BODY_BYTES} bytes", error_status_hint=413)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return _request(head, bytes(body))
        else:
            return None


def _request(head: h11.Request, body: bytes) -> HttpRequest:
    """Raises h11.RemoteProtocolError where the target is no URL."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    try:
        target = urlsplit(head.target.decode("latin-1"))
        query = {name: values[0] for name, values in parse_qs(target.query, max_num_fields=_MAX_FIELDS).items()}
    except ValueError as error:
        raise h11.RemoteProtocolError("expected a URL as the request's target", error_status_hint=400) from error
    parts = tuple(unquote(part) for part in target.path.split("/") if part)
    return HttpRequest(head.method.decode("ascii"), target.path, parts, query, headers, body)


def _send(
    connection: h11.Connection, writer: asyncio.StreamWriter, heads: list[h11.Request], response: HttpResponse
) -> None:
    body = b"" if response.body is None else json.dumps(response.body).encode()
    headers = {"Server": "everbeat-hub", "Cache-Control": "no-store"} | response.headers
    if response.status != HTTPStatus.NO_CONTENT:
        headers |= {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(body))}
    is_head = bool(heads) and heads[-1].method == b"HEAD"  # RFC 9110, section 9.3.2: the head of the answer alone
    reason = HTTPStatus(response.status).phrase.encode()
    head = h11.Response(status_code=response.status, reason=reason, headers=list(headers.items()))
    parts = [connection.send(head), connection.send(h11.Data(data=body)) if body and not is_head else b""]
    writer.write(b"".join(part or b"" for part in (*parts, connection.send(h11.EndOfMessage()))))
