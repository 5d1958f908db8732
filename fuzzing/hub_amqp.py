"""Targets at the hub's event endpoint: AMQP 1.0 as consumers speak it, and its codec alone."""

from __future__ import annotations

from urllib.parse import quote

from device.hub import amqp_frames as frames
from device.hub.amqp_codec import DecodeError, Described, Symbol, Ulong, decode, encode
from device.hub.amqp_frames import AMQP_FRAME, SASL_FRAME, AmqpError, FrameReader, encode_frame
from device.hub.amqp_messages import decode_request
from device.hub.amqp_nodes import parse_address
from fuzzing.hub import KEY, Endpoint, Made, token


def amqp() -> Made:
    """The consumers' endpoint: any bytes, or any behind a true greeting and claim (first byte odd)."""
    endpoint = Endpoint(lambda hub, reader, writer: hub.events.serve(reader, writer))
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


def _attach(handle: int, address: str, receive: bool) -> bytes:
    ends = {"source": Described(Ulong(0x28), [address]), "target": Described(Ulong(0x29), [address])}
    count = None if receive else 0
    return encode_frame(frames.ATTACH, 0, b"", AMQP_FRAME, name=f"link-{handle}", handle=handle, role=receive,
                        initial_delivery_count=count, **ends)  # fmt: skip


def _claim() -> bytes:
    audience = "sb://127.0.0.9/everbeat"
    facts = {"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": audience}
    body = ((0x73, ["id"]), (0x74, facts), (0x77, token(audience, KEY.encode())))
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
