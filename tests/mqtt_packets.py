"""MQTT packets as a client sends them, byte by byte, so that one may also say what no SDK would."""

from __future__ import annotations

import struct

CLEAN, HAS_NAME = 0x02, 0x80  # flags of CONNECT


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("!H", len(data)) + data


def packet(first: int, body: bytes) -> bytes:
    head, size = bytearray([first]), len(body)
    while True:
        head.append(size % 128 | (128 if size > 127 else 0))
        size //= 128
        if not size:
            return bytes(head) + body


def connect(client_id: str, username: str | None = None, *, keep_alive: int = 30, clean: bool = True, level: int = 4,
            flags: int = 0, name: str = "MQTT") -> bytes:  # fmt: skip
    username = f"hub/{client_id}/?api-version=2019-10-01" if username is None else username
    head = text(name) + bytes([level, HAS_NAME | (CLEAN if clean else 0) | flags]) + struct.pack("!H", keep_alive)
    return packet(0x10, head + text(client_id) + text(username))


def publish(topic: str, payload: bytes, packet_id: int | None = 1) -> bytes:
    number = b"" if packet_id is None else struct.pack("!H", packet_id)
    return packet(0x30 if packet_id is None else 0x32, text(topic) + number + payload)


def subscribe(*topics: str, packet_id: int = 1) -> bytes:
    return packet(0x82, struct.pack("!H", packet_id) + b"".join(text(topic) + b"\x01" for topic in topics))


def events(device: str) -> str:
    return f"devices/{device}/messages/events/"
