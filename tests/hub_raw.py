"""Clients that speak to the hub byte by byte, so that a test may also say what no SDK would."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from azure.eventhub._pyamqp.utils import generate_sas_token

from device.hub import amqp_frames as frames
from device.hub.amqp_codec import Described, Symbol, Ulong, encode
from device.hub.amqp_frames import Frame, FrameReader, encode_frame
from tests.hub_kit import KEY, Kit, Pair
from tests.mqtt_packets import connect, events, publish

SASL_HEADER, AMQP_HEADER = b"AMQP\x03\x01\x00\x00", b"AMQP\x00\x01\x00\x00"
CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 2, 3, 4, 9, 13
PINGREQ, DISCONNECT = b"\xc0\x00", b"\xe0\x00"


class Raw:
    """A TLS socket to one of the hub's ports."""

    def __init__(self, kit: Kit, port: int, pair: Pair | None = None, *, timeout_s: float = 5.0) -> None:
        context = ssl.create_default_context(cafile=str(kit.ca.file))
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        plain = socket.create_connection((kit.host, port), timeout=timeout_s)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname=kit.host)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes; ConnectionError where the hub has closed."""
        while len(self._buffer) < count:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("closed")
            self._buffer += data
        part, self._buffer = self._buffer[:count], self._buffer[count:]
        return part

    def is_closed(self) -> bool:
        """Whether the hub closes the connection, whatever it says before."""
        try:
            while self.socket.recv(1 << 20):
                pass
            return True
        except TimeoutError:
            return False
        except (ConnectionError, ssl.SSLError):
            return True

    def close(self) -> None:
        self.socket.close()


class RawDevice(Raw):
    """MQTT by hand."""

    def packet(self) -> tuple[int, bytes]:
        """Type and body of the next packet."""
        first, size, shift = self.read(1)[0], 0, 0
        while True:
            digit = self.read(1)[0]
            size |= (digit & 127) << shift
            shift += 7
            if not digit & 128:
                return first >> 4, self.read(size)

    def hello(self, name: str, **options: object) -> int:
        """Connect; the CONNACK's return code."""
        self.send(connect(name, **options))  # type: ignore[arg-type]
        kind, body = self.packet()
        assert kind == CONNACK
        return body[1]

    def acked(self, packet_id: int) -> bool:
        """Whether the next packet acknowledges this number."""
        return self.packet() == (PUBACK, struct.pack("!H", packet_id))


@contextmanager
def raw_device(kit: Kit, pair: Pair | None, name: str | None = None, **options: object) -> Iterator[RawDevice]:
    """A device that is connected, where a name is given."""
    device = RawDevice(kit, kit.hub.settings.mqtt_port, pair)
    try:
        if name is not None:
            assert device.hello(name, **options) == 0
        yield device
    finally:
        device.close()


def assert_serves(kit: Kit, pair: Pair, name: str) -> None:
    """Whoever misbehaved before: this device connects, sends, and has its acknowledgement."""
    with raw_device(kit, pair, name) as device:
        device.send(publish(events(name), b"still here", 7))
        assert device.acked(7)


class RawConsumer(Raw):
    """AMQP by hand."""

    def __init__(self, kit: Kit) -> None:
        super().__init__(kit, kit.hub.settings.amqp_port)
        self._kit, self._frames, self._waiting = kit, FrameReader(), list[Frame]()

    def frame(self) -> Frame:
        """The next frame that is not empty."""
        while True:
            for found in self._frames.frames():
                if found.kind is not None:
                    self._waiting.append(found)
            if self._waiting:
                return self._waiting.pop(0)
            self._frames.feed(self._buffer or self.read_some())
            self._buffer = b""

    def read_some(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("closed")
        return data

    def until(self, kind: frames.Performative) -> Frame:
        """The next frame of this kind."""
        while (found := self.frame()).kind is not kind:
            pass
        return found

    def say(self, kind: frames.Performative, channel: int = 0, payload: bytes = b"", **values: object) -> None:
        self.send(encode_frame(kind, channel, payload, 0, **values))

    def greet(self) -> None:
        """Through SASL to an open session on channel 0."""
        self.send(SASL_HEADER)
        assert self.read(8) == SASL_HEADER
        self.until(frames.SASL_MECHANISMS)
        self.send(encode_frame(frames.SASL_INIT, 0, b"", frames.SASL_FRAME, mechanism="ANONYMOUS"))
        assert self.until(frames.SASL_OUTCOME).integer("code") == 0
        self.send(AMQP_HEADER)
        data = self.read(8)
        assert data == AMQP_HEADER
        self.say(frames.OPEN, container_id="raw", hostname="hub", max_frame_size=65536)
        self.until(frames.OPEN)

    def begin(self, window: int = 5000) -> None:
        self.say(frames.BEGIN, next_outgoing_id=0, incoming_window=window, outgoing_window=5000)
        self.until(frames.BEGIN)

    def attach(self, handle: int, address: str, *, receive: bool, selector: str | None = None) -> Frame:
        """Attach; the hub's answer, or its detach where it refuses."""
        name = Symbol("apache.org:selector-filter:string")
        source: list[object] = [address]
        if selector is not None:
            source += [None] * 6 + [{name: Described(name, selector)}]
        self.say(
            frames.ATTACH, name=f"link-{handle}", handle=handle, role=receive, source=Described(Ulong(0x28), source),
            target=Described(Ulong(0x29), [address]), initial_delivery_count=None if receive else 0,
        )  # fmt: skip
        answer = self.until(frames.ATTACH)
        return answer if answer.values["source"] is not None else self.until(frames.DETACH)

    def claim(self, key: str = KEY, path: str = "everbeat", ttl_s: int = 60) -> int:
        """Show a token to $cbs; the status of its answer."""
        audience = f"sb://{self._kit.host}/{path}"
        token = generate_sas_token(audience, "service", key, int(time.time()) + ttl_s)
        self.attach(100, "$cbs", receive=True)
        self.attach(101, "$cbs", receive=False)
        self.grant(100, 10)
        properties = {"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": audience}
        message = b"".join(
            encode(Described(Ulong(code), value)) for code, value in ((0x73, ["id"]), (0x74, properties), (0x77, token))
        )
        self.say(frames.TRANSFER, 0, message, handle=101, delivery_id=0, delivery_tag=b"1", settled=True)
        answer = self.until(frames.TRANSFER)
        return 202 if b"Accepted" in answer.payload else 401

    def grant(self, handle: int, credit: int, *, seen: int = 0, window: int = 5000, frames_seen: int = 0,
              drain: bool = False) -> None:  # fmt: skip
        self.say(
            frames.FLOW, next_incoming_id=frames_seen, incoming_window=window, next_outgoing_id=0, outgoing_window=5000,
            handle=handle, delivery_count=seen, link_credit=credit, drain=drain,
        )  # fmt: skip

    def read_partition(self, number: int, handle: int = 1, *, credit: int = 1000, selector: str = "") -> Frame:
        """Attach to a partition and grant credit."""
        address = f"sb://{self._kit.host}/everbeat/ConsumerGroups/{quote('$Default', safe='$')}/Partitions/{number}"
        answer = self.attach(handle, address, receive=True, selector=selector or None)
        if answer.kind is frames.ATTACH and credit:
            self.grant(handle, credit)
        return answer


@contextmanager
def raw_consumer(kit: Kit, *, ready: bool = True) -> Iterator[RawConsumer]:
    """A consumer; where `ready`, with an open session and a claim."""
    consumer = RawConsumer(kit)
    try:
        if ready:
            consumer.greet()
            consumer.begin()
            assert consumer.claim() == 202
        yield consumer
    finally:
        consumer.close()
