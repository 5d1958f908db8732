"""The first words of an AMQP connection: protocol headers (part 2, section 2.2) and SASL (part 5, section 5.3).

SASL proves nothing here, as at Event Hubs: who a consumer is, its token says to $cbs. It must be spoken all the same.
"""

from __future__ import annotations

import asyncio

from device.hub import amqp_frames as frames
from device.hub.amqp_codec import Strings, Symbol
from device.hub.amqp_frames import AmqpError, FrameReader, Performative, encode_frame
from device.hub.listener import read_some

_MECHANISMS = Strings((Symbol("MSSBCBS"), Symbol("ANONYMOUS")))
_OK, _AUTH = 0, 1


async def negotiate(received: FrameReader, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Up to the peer's AMQP header; frames may follow. Raises AmqpError, DecodeError."""
    asked = await _header(received, reader)
    writer.write(_header_bytes(frames.SASL_FRAME))  # where it is not what the peer asked for, what we would have taken
    if asked != frames.SASL_FRAME:
        raise AmqpError("amqp:not-implemented", "expected SASL first, got AMQP; the peer is dropped")
    _send(writer, frames.SASL_MECHANISMS, sasl_server_mechanisms=_MECHANISMS)
    while (init := received.frame()) is None:
        received.feed(await read_some(reader))
    known = init.kind is frames.SASL_INIT and init.text("mechanism") in _MECHANISMS
    _send(writer, frames.SASL_OUTCOME, code=_OK if known else _AUTH)
    if not known:
        raise AmqpError("amqp:unauthorized-access", "expected MSSBCBS or ANONYMOUS, got another; the peer is dropped")
    if await _header(received, reader) != frames.AMQP_FRAME:
        raise AmqpError("amqp:not-implemented", "expected AMQP after SASL, got SASL again; the peer is dropped")
    writer.write(_header_bytes(frames.AMQP_FRAME))


async def _header(received: FrameReader, reader: asyncio.StreamReader) -> int:
    while (protocol := received.header()) is None:
        received.feed(await read_some(reader))
    return protocol


def _header_bytes(protocol: int) -> bytes:
    return next(text for text, known in frames.PROTOCOL_HEADERS.items() if known == protocol)


def _send(writer: asyncio.StreamWriter, kind: Performative, /, **values: object) -> None:
    writer.write(encode_frame(kind, 0, b"", frames.SASL_FRAME, **values))
