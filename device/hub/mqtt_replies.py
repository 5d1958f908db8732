"""MQTT 3.1.1 packets that the hub sends, as bytes. Pure; reading is mqtt_codec. Section numbers are the standard's."""

from __future__ import annotations

import struct

from device.hub.mqtt_codec import Refusal, Type

SUBACK_REFUSED = 0x80
_MAX_STRING = 65_535


def connack(refusal: Refusal | None, session_present: bool = False) -> bytes:
    """Section 3.2. None accepts."""
    return _encode(Type.CONNACK, 0, bytes((session_present and refusal is None, refusal or 0)))


def puback(packet_id: int) -> bytes:
    """Section 3.4."""
    return _encode(Type.PUBACK, 0, struct.pack("!H", packet_id))


def suback(packet_id: int, codes: list[int]) -> bytes:
    """Section 3.9: granted QoS, or SUBACK_REFUSED, for each filter in its order."""
    return _encode(Type.SUBACK, 0, struct.pack("!H", packet_id) + bytes(codes))


def unsuback(packet_id: int) -> bytes:
    """Section 3.11."""
    return _encode(Type.UNSUBACK, 0, struct.pack("!H", packet_id))


def pingresp() -> bytes:
    """Section 3.13."""
    return _encode(Type.PINGRESP, 0, b"")


def publish(topic: str, payload: bytes) -> bytes:
    """Section 3.3, QoS 0: what the hub sends is a request or an answer, which its receiver answers or asks again."""
    name = topic.encode()
    if len(name) > _MAX_STRING:
        raise ValueError(f"expected a topic of at most {_MAX_STRING} bytes, got {len(name)}; nothing was sent")
    return _encode(Type.PUBLISH, 0, struct.pack("!H", len(name)) + name + payload)


def _encode(kind: Type, flags: int, body: bytes) -> bytes:
    head, size = bytearray([kind << 4 | flags]), len(body)
    while True:  # section 2.2.3
        size, digit = size >> 7, size & 0x7F
        head.append(digit | 0x80 if size else digit)
        if not size:
            return bytes(head) + body
