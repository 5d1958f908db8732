"""Targets at the hub's device endpoint: MQTT behind TLS, and its codec, topics and twins' JSON alone."""

from __future__ import annotations

import contextlib
from typing import Any, cast

from device.hub import topics
from device.hub.mqtt import serve_device
from device.hub.mqtt_codec import (
    MalformedPacket,
    PacketReader,
    read_connect,
    read_publish,
    read_subscribe,
    read_unsubscribe,
)
from device.hub.twins import BadPatch, parse_object
from fuzzing.hub import DEVICE, Endpoint, Made
from tests.mqtt_packets import connect, packet, publish, text


def mqtt() -> Made:
    """The device's endpoint, behind TLS: any bytes, or any behind a true CONNECT (first byte odd)."""
    hello = connect(DEVICE, f"hub/{DEVICE}/?api-version=1", clean=False)
    endpoint = Endpoint(lambda hub, reader, writer: serve_device(hub.board, reader, cast(Any, writer)))

    def run(data: bytes) -> None:
        endpoint.run(hello + data[1:] if data[:1] and data[0] & 1 else data[1:])

    return run, [b"\0" + hello, *(b"\1" + each for each in _device_packets())]


def mqtt_codec() -> Made:
    """Packets, however the stream is cut (first byte), topics, twins' JSON."""

    def run(data: bytes) -> None:
        step, reader = (data[0] if data else 0) + 1, PacketReader(4096)
        try:
            for at in range(1, len(data), step):
                for found in reader.feed(data[at : at + step]):
                    for read in (read_connect, read_publish, read_subscribe, read_unsubscribe):
                        try:
                            read(found)  # type: ignore[operator]
                        except MalformedPacket:
                            continue
        except MalformedPacket:
            pass
        with contextlib.suppress(MalformedPacket):
            topics.meaning(DEVICE, data[1:].decode(errors="replace"))
        with contextlib.suppress(BadPatch):
            parse_object(data[1:])

    bodies = [b"\x07" + each for each in _device_packets()]
    return run, [*bodies, b"\0" + f"devices/{DEVICE}/messages/events/a=b".encode(), b'\0{"a":{"b":null,"c":[1]}}']


def _device_packets() -> list[bytes]:
    events, twin = f"devices/{DEVICE}/messages/events/%24.ct=a&b=c", "$iothub/twin/PATCH/properties/reported/?$rid=1"
    return [
        publish(events, b"payload"),
        packet(0x82, b"\0\2" + text(topics.METHODS) + b"\1" + text(topics.TWIN_RESPONSES) + b"\0"),
        packet(0x82, b"\0\2" + text(topics.TWIN_RESPONSES) + b"\0") + packet(0x30, text("$iothub/twin/GET/?$rid=2")),
        packet(0x30, text(twin) + b'{"everbeat":{"spooled":3}}'),
        packet(0x30, text("$iothub/methods/res/200/?$rid=1") + b'{"ok":true}'),
        packet(0xA2, b"\0\3" + text(topics.METHODS)),
        b"\xc0\0\xe0\0",
    ]
