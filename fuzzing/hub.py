"""Targets at the hub: each endpoint as its listener runs it, over a connection in memory, and the codecs alone.

The connection has ended behind the bytes, so that every run comes to an end. The endpoints are the hub's own; only the
socket and TLS are missing. A hub is thrown away after so many runs, so that what devices stored in it does not pile up.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import struct
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from device.hub import amqp_frames as frames
from device.hub import topics
from device.hub.amqp import EventEndpoint
from device.hub.amqp_codec import DecodeError, Described, Symbol, Ulong, decode, encode
from device.hub.amqp_frames import AMQP_FRAME, SASL_FRAME, AmqpError, FrameReader, encode_frame
from device.hub.amqp_messages import decode_request, encode_event
from device.hub.amqp_nodes import parse_address
from device.hub.events import EventLog, Partition
from device.hub.http import serve_http
from device.hub.mqtt import serve_device
from device.hub.mqtt_codec import (
    MalformedPacket,
    PacketReader,
    read_connect,
    read_publish,
    read_subscribe,
    read_unsubscribe,
)
from device.hub.registry import Registry
from device.hub.rest import RestEndpoint
from device.hub.sas import Unauthorized, prove, rest_key
from device.hub.settings import HubSettings, Policy, Right
from device.hub.switchboard import Switchboard
from device.hub.twins import BadPatch, parse_object
from fuzzing.targets import Run

NOW_S = 1_780_000_000.0
DEVICE, DER = "fuzzed", b"a certificate that TLS has verified"
KEY = base64.b64encode(bytes(range(32))).decode()
RUNS_A_HUB = 2000
Made = tuple[Run, list[bytes]]
Serve = Callable[["_Hub", asyncio.StreamReader, Any], Awaitable[None]]


class _Transport:
    """What endpoints ask of a transport: whether it still takes bytes."""

    def __init__(self) -> None:
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0


class _Tls:
    """The certificate that the TLS of a true connection would have verified."""

    def getpeercert(self, binary_form: bool = False) -> Any:
        return DER if binary_form else {"subject": ((("commonName", DEVICE),),)}


class _Writer:
    """The hub's side of a connection in memory; it counts what was written, and may grow no further than `most`."""

    def __init__(self, most: int = 4 * 1024 * 1024) -> None:
        self.transport, self.written, self._most = _Transport(), 0, most

    def write(self, data: bytes) -> None:
        self.written += len(data)
        assert self.written <= self._most, "a short request had an answer of megabytes"

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        self.transport.closed = True

    def get_extra_info(self, name: str) -> object:
        return _Tls() if name == "ssl_object" else None


class _Hub:
    """A hub without sockets."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory()
        here = Path(self._home.name)
        policy = Policy("service", KEY, Right.OWNER)
        nowhere = here / "none.pem"
        self.settings = HubSettings("127.0.0.9", nowhere, nowhere, nowhere, here, (policy,), log_events=200)
        self.registry = Registry(here, lambda: NOW_S)
        self.registry.enrol(DEVICE, hashlib.sha256(DER).hexdigest(), None)
        self.log = _log(self.settings)
        self.board = Switchboard(self.settings, self.registry, self.log)
        self.events = EventEndpoint(self.settings, self.log, lambda: NOW_S)
        self.rest = RestEndpoint(self.settings, self.board, lambda: NOW_S)
        self.left = RUNS_A_HUB

    def close(self) -> None:
        self.registry.close()
        self._home.cleanup()


class _Endpoint:
    """Runs one endpoint on bytes, in one event loop, on one hub after the other."""

    def __init__(self, serve: Serve) -> None:
        self._serve, self._loop, self._hub = serve, asyncio.new_event_loop(), _Hub()

    def run(self, data: bytes) -> None:
        """Serve a connection that says `data` and ends."""
        self._hub.left -= 1
        if not self._hub.left:
            self._hub.close()
            self._hub = _Hub()
        self._loop.run_until_complete(self._one(data))

    async def _one(self, data: bytes) -> None:
        reader, writer = asyncio.StreamReader(), _Writer()
        reader.feed_data(data)
        reader.feed_eof()
        try:
            async with asyncio.timeout(5):
                await self._serve(self._hub, reader, writer)
        except ConnectionError:
            pass  # the end of the bytes
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if left:
            _, alive = await asyncio.wait(left, timeout=2)
            assert not alive, "a connection ended and left a task behind"


def _log(settings: HubSettings) -> EventLog:
    parts = tuple(Partition(1, settings.log_events, settings.log_bytes) for _ in range(settings.partitions))
    return EventLog(parts, encode_event, lambda: NOW_S)


# --------------------------------------------------------------------------------------------------- MQTT


def mqtt() -> Made:
    """The device's endpoint, behind TLS: any bytes, or any behind a true CONNECT (first byte odd)."""
    hello = _packet(0x10, _text("MQTT") + b"\x04\x80\x00\x1e" + _text(DEVICE) + _text(f"hub/{DEVICE}/?api-version=1"))
    endpoint = _Endpoint(lambda hub, reader, writer: serve_device(hub.board, reader, cast(Any, writer)))

    def run(data: bytes) -> None:
        endpoint.run(hello + data[1:] if data[:1] and data[0] & 1 else data[1:])

    return run, [b"\0" + hello, *(b"\1" + packet for packet in _device_packets())]


def mqtt_codec() -> Made:
    """Packets, however the stream is cut (first byte), topics, twins' JSON."""

    def run(data: bytes) -> None:
        step, reader = (data[0] if data else 0) + 1, PacketReader(4096)
        try:
            for at in range(1, len(data), step):
                for packet in reader.feed(data[at : at + step]):
                    for read in (read_connect, read_publish, read_subscribe, read_unsubscribe):
                        try:
                            read(packet)  # type: ignore[operator]
                        except MalformedPacket:
                            continue
        except MalformedPacket:
            pass
        with contextlib.suppress(MalformedPacket):
            topics.meaning(DEVICE, data[1:].decode(errors="replace"))
        with contextlib.suppress(BadPatch):
            parse_object(data[1:])

    bodies = [b"\x07" + packet for packet in _device_packets()]
    return run, [*bodies, b"\0" + f"devices/{DEVICE}/messages/events/a=b".encode(), b'\0{"a":{"b":null,"c":[1]}}']


def _device_packets() -> list[bytes]:
    events, twin = f"devices/{DEVICE}/messages/events/%24.ct=a&b=c", "$iothub/twin/PATCH/properties/reported/?$rid=1"
    return [
        _packet(0x32, _text(events) + b"\0\1" + b"payload"),
        _packet(0x82, b"\0\2" + _text(topics.METHODS) + b"\1" + _text(topics.TWIN_RESPONSES) + b"\0"),
        _packet(0x82, b"\0\2" + _text(topics.TWIN_RESPONSES) + b"\0")
        + _packet(0x30, _text("$iothub/twin/GET/?$rid=2")),
        _packet(0x30, _text(twin) + b'{"everbeat":{"spooled":3}}'),
        _packet(0x30, _text("$iothub/methods/res/200/?$rid=1") + b'{"ok":true}'),
        _packet(0xA2, b"\0\3" + _text(topics.METHODS)),
        b"\xc0\0\xe0\0",
    ]


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("!H", len(data)) + data


def _packet(first: int, body: bytes) -> bytes:
    size, head = len(body), bytearray([first])
    while True:
        head.append(size % 128 | (128 if size > 127 else 0))
        size //= 128
        if not size:
            return bytes(head) + body


# --------------------------------------------------------------------------------------------------- AMQP


def amqp() -> Made:
    """The consumers' endpoint: any bytes, or any behind a true greeting and claim (first byte odd)."""
    endpoint = _Endpoint(lambda hub, reader, writer: hub.events.serve(reader, writer))
    greeting = _greeting()

    def run(data: bytes) -> None:
        endpoint.run(greeting + data[1:] if data[:1] and data[0] & 1 else data[1:])

    return run, [b"\0" + greeting, *(b"\1" + frame for frame in _consumer_frames())]


def amqp_codec() -> Made:
    """Values, frames, requests, addresses. What decodes encodes to what decodes to the same."""

    def run(data: bytes) -> None:
        for attempt in (decode_request, lambda d: parse_address(d.decode(errors="replace"))):
            try:
                attempt(data)
            except (DecodeError, AmqpError):
                continue
        reader = FrameReader()
        reader.feed(data)
        try:
            for frame in reader.frames():
                assert len(frame.payload) <= len(data)
        except (DecodeError, AmqpError):
            pass
        try:
            _, used = decode(data)
        except DecodeError:
            return
        assert 0 < used <= len(data)

    return run, [*_consumer_frames(), encode({"a": [1, None, b"x", True]}), _audience(0).encode()]


def _audience(partition: int) -> str:
    return f"sb://127.0.0.9/everbeat/ConsumerGroups/{quote('$Default', safe='$')}/Partitions/{partition}"


def _token(audience: str, key: bytes) -> str:
    resource, expiry = quote(audience, safe=""), str(int(NOW_S) + 3600)
    proof = hmac.new(key, f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    return f"SharedAccessSignature sr={resource}&sig={quote(base64.b64encode(proof), safe='')}&se={expiry}&skn=service"


def _attach(handle: int, address: str, receive: bool) -> bytes:
    ends = {"source": Described(Ulong(0x28), [address]), "target": Described(Ulong(0x29), [address])}
    count = None if receive else 0
    return encode_frame(frames.ATTACH, 0, b"", AMQP_FRAME, name=f"link-{handle}", handle=handle, role=receive,
                        initial_delivery_count=count, **ends)  # fmt: skip


def _claim() -> bytes:
    audience = "sb://127.0.0.9/everbeat"
    facts = {"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": audience}
    body = ((0x73, ["id"]), (0x74, facts), (0x77, _token(audience, KEY.encode())))
    message = b"".join(encode(Described(Ulong(code), value)) for code, value in body)
    return encode_frame(
        frames.TRANSFER, 0, message, AMQP_FRAME, handle=101, delivery_id=0, delivery_tag=b"1", settled=True
    )


def _flow(handle: int) -> bytes:
    return encode_frame(frames.FLOW, 0, b"", AMQP_FRAME, next_incoming_id=0, incoming_window=5000, next_outgoing_id=0,
                        outgoing_window=5000, handle=handle, delivery_count=0, link_credit=10)  # fmt: skip


def _greeting() -> bytes:
    return b"".join((
        b"AMQP\x03\x01\x00\x00", encode_frame(frames.SASL_INIT, 0, b"", SASL_FRAME, mechanism=Symbol("ANONYMOUS")),
        b"AMQP\x00\x01\x00\x00",
        encode_frame(frames.OPEN, 0, b"", AMQP_FRAME, container_id="fuzz", hostname="hub", max_frame_size=65536),
        encode_frame(frames.BEGIN, 0, b"", AMQP_FRAME, next_outgoing_id=0, incoming_window=5000, outgoing_window=5000),
        _attach(100, "$cbs", True), _attach(101, "$cbs", False), _flow(100), _claim(),
    ))  # fmt: skip


def _consumer_frames() -> list[bytes]:
    reading = _attach(1, _audience(0), True) + _flow(1)
    return [reading, _claim(), encode_frame(frames.CLOSE, 0), encode_frame(frames.DETACH, 0, handle=1, closed=True)]


# --------------------------------------------------------------------------------------------------- HTTP


def http() -> Made:
    """The service's endpoint; ``$T`` in the bytes stands for a true token, so that what lies behind it is reached."""
    policy = Policy("service", KEY, Right.OWNER)
    token = _token("127.0.0.9", rest_key(policy)).encode()
    endpoint = _Endpoint(lambda hub, reader, writer: serve_http(hub.rest.answer, reader, cast(Any, writer)))

    def run(data: bytes) -> None:
        endpoint.run(data.replace(b"$T", token))
        try:
            prove(data.decode("latin-1"), [(policy, rest_key(policy))], frozenset({"127.0.0.9"}), NOW_S)
        except Unauthorized:
            return
        raise AssertionError("a token was believed that nobody signed")

    return run, _requests()


def _requests() -> list[bytes]:
    def request(line: str, body: str = "") -> bytes:
        head = f"{line} HTTP/1.1\r\nHost: h\r\nAuthorization: $T\r\nContent-Length: {len(body)}\r\n\r\n"
        return (head + body).encode()

    return [
        request(f"GET /devices/{DEVICE}?api-version=2021-04-12"),
        request("GET /devices?top=3"),
        request("PUT /devices/other", '{"deviceId":"other","status":"disabled"}'),
        request(f"GET /twins/{DEVICE}"),
        request(f"PATCH /twins/{DEVICE}", '{"properties":{"desired":{"everbeat":{"a":1}}}}'),
        request(f"PUT /twins/{DEVICE}", '{"properties":{"desired":{}},"tags":{"a":"b"}}'),
        request(f"POST /twins/{DEVICE}/methods", '{"methodName":"identify","payload":{},"responseTimeoutInSeconds":5}'),
        request("DELETE /devices/nobody"),
        b"GET /devices HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ]
