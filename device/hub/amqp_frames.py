"""AMQP 1.0 frames and performatives (parts 2 and 5): the table of fields, and a stream cut into frames. Pure.

``encode_frame(FLOW, channel, handle=3, link_credit=100)`` writes; ``FrameReader`` reads. A field's AMQP type is a
column of the table, so the code that uses it speaks in names and plain Python values.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from device.hub.amqp_codec import Described, Strings, Symbol, Ubyte, Uint, Ulong, Ushort, decode, encode
from device.hub.settings import KIB, HubError

MAX_FRAME_BYTES = 64 * KIB  # of what we accept and announce
MIN_MAX_FRAME_BYTES = 512  # section 2.7.1: no peer may ask for less
AMQP_FRAME, SASL_FRAME = 0, 1
PROTOCOL_HEADERS = {b"AMQP\x00\x01\x00\x00": AMQP_FRAME, b"AMQP\x03\x01\x00\x00": SASL_FRAME}
HEADER_BYTES = 8
EMPTY_FRAME = struct.pack("!IBBH", 8, 2, 0, 0)
_HEAD = struct.Struct("!IBBH")  # size, data offset in words, type, channel: section 2.3.1


class AmqpError(HubError):
    """A peer broke the protocol, or asks for what it may not have. `condition` is AMQP's word for it (2.8.15)."""

    def __init__(self, condition: str, text: str) -> None:
        super().__init__(text)
        self.condition = condition

    def described(self) -> Described:
        """The error as AMQP writes it."""
        return Described(Ulong(0x1D), [Symbol(self.condition), str(self), None])


def _as_is(value: object) -> object:
    return value


@dataclass(frozen=True, slots=True)
class Performative:
    """One kind of frame body: its descriptor, and (name, type) of its fields in their order."""

    code: int
    fields: tuple[tuple[str, Callable[..., object]], ...]


def _table(code: int, /, **fields: Callable[..., object]) -> Performative:
    return Performative(code, tuple(fields.items()))


OPEN = _table(
    0x10, container_id=str, hostname=str, max_frame_size=Uint, channel_max=Ushort, idle_time_out=Uint,
    outgoing_locales=_as_is, incoming_locales=_as_is, offered_capabilities=_as_is, desired_capabilities=_as_is,
    properties=_as_is,
)  # fmt: skip
BEGIN = _table(
    0x11, remote_channel=Ushort, next_outgoing_id=Uint, incoming_window=Uint, outgoing_window=Uint, handle_max=Uint,
    offered_capabilities=_as_is, desired_capabilities=_as_is, properties=_as_is,
)  # fmt: skip
ATTACH = _table(
    0x12, name=str, handle=Uint, role=bool, snd_settle_mode=Ubyte, rcv_settle_mode=Ubyte, source=_as_is, target=_as_is,
    unsettled=_as_is, incomplete_unsettled=bool, initial_delivery_count=Uint, max_message_size=Ulong,
    offered_capabilities=_as_is, desired_capabilities=_as_is, properties=_as_is,
)  # fmt: skip
FLOW = _table(
    0x13, next_incoming_id=Uint, incoming_window=Uint, next_outgoing_id=Uint, outgoing_window=Uint, handle=Uint,
    delivery_count=Uint, link_credit=Uint, available=Uint, drain=bool, echo=bool, properties=_as_is,
)  # fmt: skip
TRANSFER = _table(
    0x14, handle=Uint, delivery_id=Uint, delivery_tag=bytes, message_format=Uint, settled=bool, more=bool,
    rcv_settle_mode=Ubyte, state=_as_is, resume=bool, aborted=bool, batchable=bool,
)  # fmt: skip
DISPOSITION = _table(0x15, role=bool, first=Uint, last=Uint, settled=bool, state=_as_is, batchable=bool)
DETACH = _table(0x16, handle=Uint, closed=bool, error=_as_is)
END = _table(0x17, error=_as_is)
CLOSE = _table(0x18, error=_as_is)
SASL_MECHANISMS = _table(0x40, sasl_server_mechanisms=Strings)
SASL_INIT = _table(0x41, mechanism=Symbol, initial_response=bytes, hostname=str)
SASL_OUTCOME = _table(0x44, code=Ubyte, additional_data=bytes)

_BY_CODE = {
    table.code: table
    for table in (OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE, SASL_MECHANISMS, SASL_INIT,
                  SASL_OUTCOME)
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that was read. The getters raise AmqpError where the field has another type, or is needed and absent."""

    type: int
    channel: int
    kind: Performative | None  # None for an empty frame, a sign of life
    values: dict[str, object]
    payload: bytes

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer field."""
        value = self.values.get(name)
        value = default if value is None else value
        if not isinstance(value, int):
            raise AmqpError("amqp:invalid-field", f"expected an integer as {name}, got {value!r:.60}; it was refused")
        return value

    def text(self, name: str) -> str:
        """A string or symbol field."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise AmqpError("amqp:invalid-field", f"expected text as {name}, got {value!r:.60}; it was refused")
        return value

    def flag(self, name: str) -> bool:
        """A boolean field; absent is false."""
        return self.values.get(name) is True


def encode_frame(
    kind: Performative, channel: int, payload: bytes = b"", frame_type: int = AMQP_FRAME, /, **values: object
) -> bytes:
    """A frame's bytes. Fields that are not given are null, and sent: the Event Hubs SDK reads fields by position."""
    fields = [None if values.get(name) is None else to(values.pop(name)) for name, to in kind.fields]
    if rest := [name for name, value in values.items() if value is not None]:
        raise TypeError(f"expected fields of performative {kind.code:#x}, got {rest}; nothing was sent")
    body = encode(Described(Ulong(kind.code), fields)) + payload
    return _HEAD.pack(len(body) + HEADER_BYTES, 2, frame_type, channel) + body


class FrameReader:
    """Cuts a byte stream into protocol headers and frames. An oversized frame is refused by its size alone."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what was received."""
        self._buffer += data

    def header(self) -> int | None:
        """The protocol asked for: SASL_FRAME or AMQP_FRAME; None until its 8 bytes are here. Section 2.2."""
        if len(self._buffer) < HEADER_BYTES:
            return None
        text = bytes(self._buffer[:HEADER_BYTES])
        if text not in PROTOCOL_HEADERS:
            raise AmqpError("amqp:not-implemented", f"expected AMQP 1.0 with SASL, got {text!r}; the peer is dropped")
        del self._buffer[:HEADER_BYTES]
        return PROTOCOL_HEADERS[text]

    def frames(self) -> Iterator[Frame]:
        """All whole frames received so far. Raises AmqpError, DecodeError; the reader is of no use after that."""
        while (frame := self.frame()) is not None:
            yield frame

    def frame(self) -> Frame | None:
        """The next whole frame, if there is one."""
        if len(self._buffer) < HEADER_BYTES:
            return None
        size, offset, kind, channel = _HEAD.unpack_from(self._buffer)
        if not HEADER_BYTES <= size <= MAX_FRAME_BYTES or not 2 <= offset <= size // 4:
            raise AmqpError("amqp:framing-error", f"expected a frame, got size {size}, offset {offset}; peer dropped")
        if len(self._buffer) < size:
            return None
        body = bytes(self._buffer[offset * 4 : size])
        del self._buffer[:size]
        return _frame(kind, channel, body)


def _frame(frame_type: int, channel: int, body: bytes) -> Frame:
    if frame_type not in (AMQP_FRAME, SASL_FRAME):
        raise AmqpError("amqp:framing-error", f"expected a known frame type, got {frame_type}; the peer is dropped")
    if not body:
        return Frame(frame_type, channel, None, {}, b"")
    value, at = decode(body)
    fields = value.value if isinstance(value, Described) else None
    code = value.descriptor if isinstance(value, Described) else None
    kind = _BY_CODE.get(code) if isinstance(code, int) else None
    if kind is None or not isinstance(fields, list) or len(fields) > len(kind.fields):
        raise AmqpError("amqp:decode-error", "expected a known performative, got another; the peer is dropped")
    names = (name for name, _ in kind.fields)
    return Frame(frame_type, channel, kind, dict(zip(names, fields, strict=False)), body[at:])
