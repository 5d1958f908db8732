"""What no consumer's or service's SDK would say to the hub: claims, credit, windows, garbage, ports that are taken."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from device.hub import amqp_frames as frames
from device.hub.settings import CannotStart
from tests.hub_kit import OTHER_KEY, HubThread, Kit, Pair, device_sha, faults, running_hub
from tests.hub_raw import AMQP_HEADER, SASL_HEADER, Raw, assert_serves, raw_consumer, raw_device
from tests.mqtt_packets import events, publish

pytestmark = pytest.mark.hub


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    with running_hub("127.0.1.16", tmp_path_factory.mktemp("hub"), handshake_s=1.0, log_events=100) as kit:
        yield kit


@pytest.fixture(scope="module")
def good(kit: Kit) -> Pair:
    """A device that behaves, to see that the hub still serves it."""
    return kit.enrol("good")


@pytest.fixture
def unharmed(kit: Kit, good: Pair, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After the test the hub serves a device as it did before, and has found no fault in itself."""
    yield
    assert not faults(caplog)
    assert_serves(kit, good, "good")


def test_amqp_garbage_ends_the_connection(kit: Kit, unharmed: None) -> None:
    port = kit.hub.settings.amqp_port
    sasl_init = frames.encode_frame(frames.SASL_INIT, 0, b"", 1, mechanism="ANONYMOUS")
    begin = SASL_HEADER + sasl_init + AMQP_HEADER
    opened = begin + frames.encode_frame(frames.OPEN, 0, container_id="x", hostname="y")
    for garbage in (
        os.urandom(64),
        b"GET / HTTP/1.1\r\n\r\n",
        AMQP_HEADER,
        b"AMQP\x02\x01\x00\x00",
        SASL_HEADER + frames.encode_frame(frames.SASL_INIT, 0, b"", 1, mechanism="PLAIN", initial_response=b"\0a\0b"),
        SASL_HEADER + struct.pack("!IBBH", 2**31, 2, 1, 0),
        SASL_HEADER + struct.pack("!IBBH", 4, 2, 1, 0),
        begin + struct.pack("!IBBH", 70_000, 2, 0, 0),
        begin + frames.encode_frame(frames.BEGIN, 0, next_outgoing_id=0, incoming_window=1, outgoing_window=1),
        opened + frames.encode_frame(frames.OPEN, 0, container_id="x", hostname="y"),
        opened + struct.pack("!IBBH", 8 + 2000, 2, 0, 0) + b"\xc0\xff\xff" * 666 + b"\x00\x00",
        opened + struct.pack("!IBBH", 8 + 40, 2, 0, 0) + b"\x00" * 40,
        opened + frames.encode_frame(frames.ATTACH, 3, name="x", handle=0, role=True),
        opened + frames.encode_frame(frames.TRANSFER, 0, handle=0),
        opened + frames.encode_frame(frames.BEGIN, 0, next_outgoing_id=0, incoming_window=1, outgoing_window=1) * 2,
    ):  # fmt: skip
        client = Raw(kit, port)
        client.send(garbage)
        assert client.is_closed(), garbage[:40]
        client.close()


def test_a_link_without_a_claim_is_refused(kit: Kit) -> None:
    with raw_consumer(kit, ready=False) as consumer:
        consumer.greet()
        consumer.begin()
        assert consumer.claim(key=OTHER_KEY) == 401
        for answer in (consumer.read_partition(0), consumer.attach(2, "$management", receive=True)):
            assert answer.kind is frames.DETACH
            assert answer.values["error"].value[0] == "amqp:unauthorized-access"  # type: ignore[attr-defined]


def test_a_claim_covers_what_it_names_and_ends_when_it_says(kit: Kit) -> None:
    with raw_consumer(kit, ready=False) as consumer:
        consumer.greet()
        consumer.begin()
        assert consumer.claim(path="everbeat/consumergroups/$default/partitions/0", ttl_s=2) == 202
        assert consumer.read_partition(1, 1).kind is frames.DETACH
        assert consumer.read_partition(0, 2).kind is frames.ATTACH
        time.sleep(2.1)
        assert consumer.read_partition(0, 3).kind is frames.DETACH


def test_a_consumer_may_not_send_events(kit: Kit) -> None:
    with raw_consumer(kit) as consumer:
        answer = consumer.attach(1, "everbeat", receive=False)
        assert answer.kind is frames.DETACH


def test_credit_and_window_are_honoured_to_the_delivery(kit: Kit, good: Pair) -> None:
    partition = device_sha("good", 2)
    with raw_consumer(kit) as consumer, raw_device(kit, good, "good") as device:
        assert consumer.read_partition(partition, credit=3).kind is frames.ATTACH
        for i in range(1, 11):
            device.send(publish(events("good"), b"n%d" % i, i))
            assert device.acked(i)
        assert [consumer.until(frames.TRANSFER).payload[-2:] for _ in range(3)] == [b"n1", b"n2", b"n3"]
        consumer.grant(1, 2, seen=3, frames_seen=4)  # one transfer was the answer of $cbs
        assert [consumer.until(frames.TRANSFER).payload[-2:] for _ in range(2)] == [b"n4", b"n5"]
        consumer.grant(1, 9, seen=5, frames_seen=6, window=1)
        assert consumer.until(frames.TRANSFER).payload[-2:] == b"n6"
        consumer.grant(1, 20, seen=6, frames_seen=7, drain=True)
        assert [consumer.until(frames.TRANSFER).payload[-2:] for _ in range(3)] == [b"n7", b"n8", b"n9"]
        flow = consumer.until(frames.FLOW)
        assert (flow.integer("link_credit"), flow.integer("delivery_count")) == (0, 26)


def test_a_large_event_is_cut_to_the_consumers_frame_size(kit: Kit, good: Pair) -> None:
    body = os.urandom(200_000)
    with raw_consumer(kit) as consumer, raw_device(kit, good, "good") as device:
        consumer.read_partition(device_sha("good", 2))
        device.send(publish(events("good"), body, 1))
        parts = [consumer.until(frames.TRANSFER)]
        while parts[-1].flag("more"):
            parts.append(consumer.until(frames.TRANSFER))
    assert len(parts) == 4
    assert b"".join(part.payload for part in parts).endswith(body)


def test_what_the_log_has_dropped_is_skipped_and_reading_goes_on_at_its_start(kit: Kit, good: Pair) -> None:
    with raw_device(kit, good, "good") as device, raw_consumer(kit) as consumer:
        for i in range(1, 251):
            device.send(publish(events("good"), b"d%03d" % i, i))
        for i in range(1, 251):
            assert device.acked(i)
        selector = "amqp.annotation.x-opt-offset > '0'"
        consumer.read_partition(device_sha("good", 2), selector=selector)
        payloads = [consumer.until(frames.TRANSFER).payload[-4:] for _ in range(100)]
    assert payloads == [b"d%03d" % i for i in range(151, 251)]


@pytest.mark.alone
def test_an_event_leaves_the_hub_within_milliseconds(kit: Kit, good: Pair) -> None:
    spent = list[float]()
    with raw_consumer(kit) as consumer, raw_device(kit, good, "good") as device:
        consumer.read_partition(device_sha("good", 2))
        for i in range(1, 201):
            start = time.perf_counter()
            device.send(publish(events("good"), bytes(2000), i))
            consumer.until(frames.TRANSFER)
            spent.append(time.perf_counter() - start)
            assert device.acked(i)
            if i % 50 == 0:
                consumer.grant(1, 1000, seen=i, frames_seen=i + 1)
    spent.sort()
    assert spent[100] < 0.005, f"median {spent[100] * 1000:.1f} ms"


# ------------------------------------------------------------------------------------------- HTTPS and ports


def test_http_garbage_ends_the_connection(kit: Kit, unharmed: None) -> None:
    for garbage in (
        os.urandom(64) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 40_000,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET http://[x HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        client = Raw(kit, kit.hub.settings.rest_port)
        client.send(garbage)
        assert client.is_closed(), garbage[:40]
        client.close()


@pytest.mark.parametrize("port", ["mqtt_port", "amqp_port", "rest_port"])
def test_a_port_in_use_is_said_and_leaves_nothing_listening(kit: Kit, tmp_path: Path, port: str) -> None:
    settings = replace(kit.hub.settings, state_dir=tmp_path, mqtt_port=28883, amqp_port=25671, rest_port=28443)
    taken = replace(settings, **{port: getattr(kit.hub.settings, port)})
    with pytest.raises(CannotStart, match=r"expected 127\.0\.1\.16:\d+ to be free .* got another process .* did not"):
        HubThread(taken).start()
    second = HubThread(settings)  # on the other two ports nothing was left behind
    second.start()
    second.stop()


def test_a_certificate_that_can_not_be_read_is_said(kit: Kit, tmp_path: Path) -> None:
    for flaw in ({"key": tmp_path / "none"}, {"ca": kit.hub.settings.key}):
        settings = replace(kit.hub.settings, state_dir=tmp_path, mqtt_port=28883, **flaw)
        with pytest.raises(CannotStart, match=r"expected readable PEM certificates, got .*did not start"):
            HubThread(settings).start()
