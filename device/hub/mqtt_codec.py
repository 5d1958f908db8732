"""MQTT 3.1.1 packets that the hub reads (OASIS standard of 29 October 2014; section numbers below). Pure.

Only what a server of IoT Hub's kind sends and takes: no QoS 2. Whatever breaks the standard raises MalformedPacket,
upon which the one connection it came from must be closed (section 4.8).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from device.hub.settings import KIB, MAX_MESSAGE_BYTES, HubError

MAX_PACKET_BYTES = MAX_MESSAGE_BYTES + 8 * KIB  # a message, and a topic with URL-encoded properties


class MalformedPacket(HubError):
    """Bytes that are no MQTT 3.1.1 packet, or one that a client of this hub may not send."""


class Type(IntEnum):
    """Control packet types, section 2.2.1."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class Refusal(IntEnum):
    """CONNACK return codes, section 3.2.2.3."""

    PROTOCOL = 1
    IDENTIFIER = 2
    UNAVAILABLE = 3
    NOT_AUTHORIZED = 5


# Flags that section 2.2.2 prescribes; PUBLISH carries its own
_FLAGS: dict[Type, int] = {
    t: 0b0010 if t in (Type.SUBSCRIBE, Type.UNSUBSCRIBE) else 0 for t in Type if t is not Type.PUBLISH
}
_FROM_CLIENT = frozenset(Type) - {Type.CONNACK, Type.SUBACK, Type.UNSUBACK, Type.PINGRESP}


@dataclass(frozen=True, slots=True)
class Packet:
    """A control packet whose body is not read yet."""

    type: Type
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Connect:
    """Section 3.1. `level` is 4 for MQTT 3.1.1."""

    level: int
    clean: bool
    keep_alive_s: int
    client_id: str
    username: str
    has_will: bool


@dataclass(frozen=True, slots=True)
class Publish:
    """Section 3.3. `packet_id` is None for QoS 0."""

    topic: str
    packet_id: int | None
    payload: bytes
    duplicate: bool


class PacketReader:
    """Cuts a byte stream into packets. Refuses an oversized one by its header, before its body is held."""

    def __init__(self, max_packet_bytes: int = MAX_PACKET_BYTES) -> None:
        self._buffer = bytearray()
        self._max = max_packet_bytes

    def feed(self, data: bytes) -> Iterator[Packet]:
        """All packets that `data` completes. Raises MalformedPacket; the reader is of no use after that."""
        self._buffer += data
        while (head := self._head()) is not None:
            first, size, at = head
            if len(self._buffer) < at + size:
                return
            body = bytes(self._buffer[at : at + size])
            del self._buffer[: at + size]
            yield _packet(first, body)

    def _head(self) -> tuple[int, int, int] | None:
        """First byte, length of the body, and where it starts; None while the header is incomplete. Section 2.2.3."""
        size = 0
        for i in range(1, 5):
            if len(self._buffer) <= i:
                return None
            size |= (self._buffer[i] & 0x7F) << (7 * (i - 1))
            if size > self._max:
                raise MalformedPacket(f"expected at most {self._max} bytes, got {size} or more; the peer is dropped")
            if not self._buffer[i] & 0x80:
                return self._buffer[0], size, i + 1
        raise MalformedPacket("expected a length of at most 4 bytes, got more; the peer is dropped")


def _packet(first: int, body: bytes) -> Packet:
    try:
        kind = Type(first >> 4)
    except ValueError as error:
        raise MalformedPacket(f"expected a known packet type, got {first >> 4}; the peer is dropped") from error
    flags = first & 0x0F
    if kind not in _FROM_CLIENT or _FLAGS.get(kind, flags) != flags:
        raise MalformedPacket(f"expected a client's packet, got {kind.name} with {flags:04b}; the peer is dropped")
    return Packet(kind, flags, body)


class _Body:
    """Reads fields off a packet's body."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def uint8(self) -> int:
        return self.take(1)[0]

    def uint16(self) -> int:
        return int.from_bytes(self.take(2))

    def packet_id(self) -> int:
        value = self.uint16()
        if value == 0:
            raise MalformedPacket("expected a packet identifier above 0, got 0; the peer is dropped")  # 2.3.1
        return value

    def binary(self) -> bytes:
        return self.take(self.uint16())

    def text(self) -> str:
        """Section 1.5.3: UTF-8 without NUL and surrogates."""
        try:
            text = self.binary().decode()
        except UnicodeDecodeError as error:
            raise MalformedPacket("expected UTF-8, got other bytes; the peer is dropped") from error
        if "\0" in text:
            raise MalformedPacket("expected text without NUL, got one; the peer is dropped")
        return text

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._body):
            raise MalformedPacket(f"expected {count} bytes more, got the packet's end; the peer is dropped")
        part = self._body[self._at : self._at + count]
        self._at += count
        return part

    def rest(self) -> bytes:
        return self._body[self._at :]

    def end(self) -> None:
        if self._at != len(self._body):
            raise MalformedPacket(f"expected the packet's end, got {len(self.rest())} bytes more; the peer is dropped")


def read_connect(packet: Packet) -> Connect:
    """Section 3.1. A level other than 4 is for the caller to refuse. Raises MalformedPacket."""
    body = _Body(packet.body)
    if body.text() != "MQTT":
        raise MalformedPacket("expected the protocol name MQTT, got another; the peer is dropped")
    level, flags, keep_alive_s = body.uint8(), body.uint8(), body.uint16()
    if level != 4:
        return Connect(level, True, 0, "", "", False)  # what follows has another form
    will, has_password, has_username = bool(flags & 0x04), bool(flags & 0x40), bool(flags & 0x80)
    if flags & 0x01 or (not will and flags & 0x38) or (has_password and not has_username):
        raise MalformedPacket(f"expected connect flags that agree, got {flags:08b}; the peer is dropped")  # 3.1.2
    client_id = body.text()
    if will:
        body.text(), body.binary()
    username = body.text() if has_username else ""
    if has_password:
        body.binary()
    body.end()
    return Connect(level, bool(flags & 0x02), keep_alive_s, client_id, username, will)


def read_publish(packet: Packet) -> Publish:
    """Section 3.3. Raises MalformedPacket, also for QoS 2, which IoT Hub does not serve."""
    qos = packet.flags >> 1 & 3
    if qos > 1:
        raise MalformedPacket(f"expected QoS 0 or 1, got {qos}; the peer is dropped")
    body = _Body(packet.body)
    topic = body.text()
    if not topic or set(topic) & {"+", "#"}:
        raise MalformedPacket("expected a topic without wildcards, got another; the peer is dropped")  # 3.3.2.1
    packet_id = body.packet_id() if qos else None
    return Publish(topic, packet_id, body.rest(), bool(packet.flags & 0x08))


def read_subscribe(packet: Packet) -> tuple[int, list[tuple[str, int]]]:
    """Section 3.8: packet identifier, and (filter, QoS) pairs. Raises MalformedPacket."""
    body = _Body(packet.body)
    packet_id, wanted = body.packet_id(), list[tuple[str, int]]()
    while body.rest():
        topic, qos = body.text(), body.uint8()
        if qos > 2 or not topic:
            raise MalformedPacket(f"expected a filter with QoS 0 to 2, got {qos}; the peer is dropped")
        wanted.append((topic, qos))
    if not wanted:
        raise MalformedPacket("expected a topic filter, got none; the peer is dropped")  # 3.8.3
    return packet_id, wanted


def read_unsubscribe(packet: Packet) -> tuple[int, list[str]]:
    """Section 3.10: packet identifier and filters. Raises MalformedPacket."""
    body = _Body(packet.body)
    packet_id, topics = body.packet_id(), list[str]()
    while body.rest():
        topics.append(body.text())
    if not topics:
        raise MalformedPacket("expected a topic filter, got none; the peer is dropped")  # 3.10.3
    return packet_id, topics
