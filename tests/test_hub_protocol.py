"""What no SDK would say to the hub: each misbehaviour ends its own connection, and the hub serves everybody else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from msrest.exceptions import HttpOperationError

from device.hub import amqp_frames as frames
from device.hub.settings import CannotStart
from device.hub.topics import DESIRED, METHODS, TWIN_RESPONSES
from tests.hub_kit import OTHER_KEY, Authority, HubThread, Kit, Pair, device_sha, running_hub
from tests.hub_raw import (
    AMQP_HEADER,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBLISH,
    SASL_HEADER,
    SUBACK,
    Raw,
    RawDevice,
    connect,
    events,
    packet,
    publish,
    raw_consumer,
    raw_device,
    subscribe,
    text,
)

pytestmark = pytest.mark.hub


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    with running_hub("127.0.1.14", tmp_path_factory.mktemp("hub"), handshake_s=1.0, log_events=100) as kit:
        yield kit


@pytest.fixture(scope="module")
def good(kit: Kit) -> Pair:
    """A device that behaves, to see that the hub still serves it."""
    return kit.enrol("good")


@pytest.fixture
def unharmed(kit: Kit, good: Pair) -> Iterator[None]:
    """After the test the hub serves a device as it did before."""
    yield
    with raw_device(kit, good, "good") as device:
        device.send(publish(events("good"), b"still here", 7))
        assert device.acked(7)


def refused_by_tls(kit: Kit, pair: Pair | None, name: str) -> bool:
    """Whether a client gets no CONNACK, neither a yes nor a no."""
    try:
        device = RawDevice(kit, kit.hub.settings.mqtt_port, pair)
        device.hello(name)
    except (ConnectionError, ssl.SSLError):
        return True
    return False


# ------------------------------------------------------------------------------------------- who may connect


def test_without_a_certificate_nobody_is_heard(kit: Kit, unharmed: None) -> None:
    assert refused_by_tls(kit, None, "good")


@pytest.mark.parametrize("flaw", ["expired", "self-signed", "of another CA", "of the server"])
def test_a_certificate_that_our_ca_does_not_vouch_for_is_refused(
    kit: Kit, good: Pair, flaw: str, tmp_path: Path, unharmed: None
) -> None:
    kit.enrol("good", pinned=False)
    pair = {
        "expired": lambda: kit.ca.device("good", life=timedelta(days=-1)),
        "self-signed": lambda: kit.ca.device("good", self_signed=True),
        "of another CA": lambda: Authority(tmp_path, "rogue CA").device("good"),
        "of the server": lambda: kit.ca.server(kit.host),
    }[flaw]()
    assert refused_by_tls(kit, pair, "good")


def test_without_a_pin_any_certificate_of_the_ca_with_the_name_will_do(kit: Kit) -> None:
    kit.enrol("unpinned", pinned=False)
    with raw_device(kit, kit.ca.device("unpinned"), "unpinned"):
        pass


@pytest.mark.parametrize(
    ("client_id", "username"),
    [
        ("victim", None),
        ("thief", "hub/victim/?api-version=1"),
        ("thief", "thief"),
        ("thief", ""),
        ("victim", "hub/thief"),
    ],
)
def test_a_name_other_than_the_certificates_is_not_authorized(
    kit: Kit, client_id: str, username: str | None, unharmed: None
) -> None:
    kit.enrol("victim")
    with raw_device(kit, kit.enrol("thief")) as device:
        assert device.hello(client_id, username=username) == 5
        assert device.is_closed()


def test_an_unknown_a_disabled_and_a_removed_device_are_not_authorized(kit: Kit, unharmed: None) -> None:
    with raw_device(kit, kit.ca.device("stranger")) as device:
        assert device.hello("stranger") == 5
    pair, rest = kit.enrol("once"), kit.rest()
    with raw_device(kit, pair, "once") as device:
        rest.update_device_with_x509("once", "*", pair.thumbprint, None, "disabled")
        assert device.is_closed()
    with raw_device(kit, pair) as device:
        assert device.hello("once") == 5
    rest.delete_device("once")
    with raw_device(kit, pair) as device:
        assert device.hello("once") == 5


def test_another_certificate_than_the_pinned_one_is_not_authorized(kit: Kit, good: Pair, unharmed: None) -> None:
    kit.enrol("pinned")
    with raw_device(kit, kit.ca.device("pinned")) as device:
        assert device.hello("pinned") == 5


def test_other_protocol_levels_and_empty_names_get_their_own_refusal(kit: Kit, good: Pair, unharmed: None) -> None:
    for options, code in (({"level": 5}, 1), ({"level": 3}, 1)):
        with raw_device(kit, good) as device:
            assert device.hello("good", **options) == code
    with raw_device(kit, good) as device:
        assert device.hello("") == 2


def test_who_says_nothing_is_not_waited_for(kit: Kit, good: Pair, unharmed: None) -> None:
    with raw_device(kit, good) as device:
        device.send(connect("good")[:-1])
        start = time.monotonic()
        assert device.is_closed()
        assert 0.5 < time.monotonic() - start < 3
    plain = socket.create_connection((kit.host, kit.hub.settings.mqtt_port), timeout=5)
    start = time.monotonic()
    assert plain.recv(1) == b""
    assert time.monotonic() - start < 3
    plain.close()


def test_a_second_connection_of_a_device_ends_the_first(kit: Kit, unharmed: None) -> None:
    pair = kit.enrol("twice")
    with raw_device(kit, pair, "twice") as first, raw_device(kit, pair, "twice") as second:
        assert first.is_closed()
        second.send(publish(events("twice"), b"x", 3))
        assert second.acked(3)


# ----------------------------------------------------------------------------------------- what is malformed


HELLO = connect("good")
MALFORMED = {
    "another packet first": PINGREQ,
    "another protocol": connect("good", name="MQIsdp"),
    "random bytes": os.urandom(64),
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT twice": HELLO + HELLO,
    "a reserved connect flag": connect("good", flags=1),
    "a will QoS without a will": connect("good", flags=0x18),
    "bytes after the fields": packet(0x10, HELLO[2:] + b"x"),
    "a length of five bytes": HELLO + b"\x30\xff\xff\xff\xff\x01",
    "a packet of 300 KB": HELLO + b"\x32\xe0\xa7\x12",
    "a reserved type": HELLO + b"\xf0\x00",
    "a server's packet": HELLO + b"\x20\x02\x00\x00",
    "wrong flags": HELLO + b"\xc1\x00",
    "a publish without a topic": HELLO + packet(0x30, b""),
    "a topic that ends early": HELLO + packet(0x30, b"\x00\x09abc"),
    "a topic that is not UTF-8": HELLO + packet(0x30, b"\x00\x02\xff\xfe"),
    "a topic with NUL": HELLO + packet(0x30, text("a\0b")),
    "a topic with a wildcard": HELLO + publish("devices/good/messages/#", b""),
    "QoS 2": HELLO + packet(0x34, text(events("good")) + b"\x00\x01x"),
    "QoS 3": HELLO + packet(0x36, text(events("good")) + b"\x00\x01x"),
    "packet id 0": HELLO + publish(events("good"), b"x", 0),
    "a subscription to nothing": HELLO + packet(0x82, b"\x00\x01"),
    "a subscription with QoS 3": HELLO + packet(0x82, b"\x00\x01" + text(METHODS) + b"\x03"),
    "an unsubscription of nothing": HELLO + packet(0xA2, b"\x00\x01"),
    "100 MB of properties": HELLO + packet(0x30, text(events("good") + "a=1&" * 10_000)),
    "a method's answer that is no JSON": HELLO + publish("$iothub/methods/res/200/?$rid=1", b"{"),
    "a twin request without an id": HELLO + publish("$iothub/twin/GET/", b""),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_packet_ends_the_connection_without_an_acknowledgement(
    kit: Kit, good: Pair, what: str, unharmed: None
) -> None:
    with raw_device(kit, good) as device:
        device.send(MALFORMED[what])
        said = b""
        try:
            while True:
                said += device.read(1)
        except (ConnectionError, ssl.SSLError):
            pass
    assert said[:2] in (b"", b"\x20\x02")  # at most a CONNACK
    assert len(said) <= 4


@pytest.mark.parametrize(
    "topic",
    ["devices/other/messages/events/", "devices/goo/messages/events/", "devices/good/messages/eventsX",
     "devices/good/messages/devicebound/", "devices/good/modules/m/messages/events/",
     "$iothub/twin/PATCH/properties/desired/?$rid=1", "$iothub/twin/res/200/?$rid=1",
     "$iothub/methods/POST/x/?$rid=1", "anything", "$SYS/x"],
)  # fmt: skip
def test_a_foreign_topic_ends_the_connection_without_an_acknowledgement(
    kit: Kit, good: Pair, topic: str, unharmed: None
) -> None:
    with raw_device(kit, good, "good") as device:
        device.send(
            publish(events("good"), b"mine", 1) + publish(topic, b"theirs", 2) + publish(events("good"), b"", 3)
        )
        assert device.acked(1)  # what was done before is acknowledged
        with pytest.raises((ConnectionError, ssl.SSLError)):
            device.packet()


def test_a_message_may_have_256_kib_with_its_properties_and_not_a_byte_more(
    kit: Kit, good: Pair, unharmed: None
) -> None:
    topic = events("good") + "key=value"
    with raw_device(kit, good, "good") as device:
        device.send(publish(topic, bytes(256 * 1024 - 8), 1))
        assert device.acked(1)
        device.send(publish(topic, bytes(256 * 1024 - 7), 2))
        assert device.is_closed()


def test_a_packet_may_come_byte_by_byte(kit: Kit, good: Pair) -> None:
    with raw_device(kit, good) as device:
        for byte in connect("good") + publish(events("good"), b"slowly", 9):
            device.send(bytes([byte]))
        assert device.packet()[0] == 2
        assert device.acked(9)


def test_a_device_that_falls_silent_is_dropped_after_one_and_a_half_times_its_keep_alive(
    kit: Kit, good: Pair, unharmed: None
) -> None:
    with raw_device(kit, good, "good", keep_alive=1) as device:
        for _ in range(3):
            time.sleep(0.8)
            device.send(PINGREQ)
            assert device.packet() == (PINGRESP, b"")
        start = time.monotonic()
        assert device.is_closed()
        assert 1.3 < time.monotonic() - start < 2.5


def test_a_device_that_asks_much_and_reads_nothing_is_dropped(kit: Kit, unharmed: None) -> None:
    pair = kit.enrol("greedy")
    kit.rest().update_twin("greedy", Twin(properties=TwinProperties(desired={"x": "y" * 30_000})))
    with raw_device(kit, pair, "greedy") as device:
        device.send(subscribe(TWIN_RESPONSES))
        assert device.packet()[0] == SUBACK
        ask = publish("$iothub/twin/GET/?$rid=1", b"", None)
        with contextlib.suppress(OSError):
            for _ in range(100):
                device.send(ask * 200)
        assert device.is_closed()


# ------------------------------------------------------------------------------------- what reaches a device


def test_a_subscription_to_what_is_not_ours_is_refused_and_the_rest_granted(kit: Kit, good: Pair) -> None:
    with raw_device(kit, good, "good") as device:
        device.send(subscribe("#", METHODS, "devices/other/messages/devicebound/#", DESIRED, "$iothub/#"))
        assert device.packet() == (SUBACK, b"\x00\x01\x80\x01\x80\x01\x80")


def test_nothing_is_sent_to_a_device_that_did_not_subscribe(kit: Kit) -> None:
    pair, rest = kit.enrol("deaf"), kit.rest()
    with raw_device(kit, pair, "deaf") as device:
        rest.update_twin("deaf", Twin(properties=TwinProperties(desired={"x": 1})))
        with pytest.raises(HttpOperationError) as caught:
            rest.invoke_device_method("deaf", CloudToDeviceMethod(method_name="identify", payload={}))
        assert caught.value.response.status_code == 404
        device.send(publish("$iothub/twin/GET/?$rid=1", b"", 4) + PINGREQ)
        assert device.packet()[0] == PUBACK
        assert device.packet()[0] == PINGRESP


def test_a_subscription_is_remembered_unless_the_session_is_clean(kit: Kit) -> None:
    pair, rest = kit.enrol("memory"), kit.rest()
    for clean, remembered in ((False, False), (False, True), (True, False), (False, False)):
        with raw_device(kit, pair) as device:
            device.send(connect("memory", clean=clean))
            assert device.packet() == (2, bytes([remembered, 0]))
            if not remembered:
                device.send(subscribe(DESIRED))
                assert device.packet()[0] == SUBACK
            rest.update_twin("memory", Twin(properties=TwinProperties(desired={"n": str(time.time_ns())})))
            assert device.packet()[0] == PUBLISH
            device.send(DISCONNECT)


def test_a_device_can_not_answer_for_another(kit: Kit) -> None:
    liar, asked, rest = kit.enrol("liar"), kit.enrol("asked"), kit.rest()
    with raw_device(kit, asked, "asked") as honest, raw_device(kit, liar, "liar") as other:
        honest.send(subscribe(METHODS))
        assert honest.packet()[0] == SUBACK

        async def ask() -> object:
            call = CloudToDeviceMethod(method_name="x", payload={}, response_timeout_in_seconds=5)
            task = asyncio.create_task(asyncio.to_thread(rest.invoke_device_method, "asked", call))
            _, body = await asyncio.to_thread(honest.packet)
            rid = body[2 : 2 + struct.unpack("!H", body[:2])[0]].split(b"$rid=")[1].decode()
            other.send(publish(f"$iothub/methods/res/200/?$rid={rid}", b'"lie"', 1))
            assert other.acked(1)
            honest.send(publish(f"$iothub/methods/res/200/?$rid={rid}", b'"truth"', 1))
            return (await task).payload

        assert asyncio.run(ask()) == "truth"


def test_the_number_of_open_methods_is_bounded(kit: Kit) -> None:
    pair = kit.enrol("busy")
    limit = kit.hub.settings.max_methods

    async def ask(rest: object) -> int:
        call = CloudToDeviceMethod(method_name="x", payload={}, response_timeout_in_seconds=5)
        try:
            await asyncio.to_thread(rest.invoke_device_method, "busy", call)  # type: ignore[attr-defined]
        except HttpOperationError as error:
            return error.response.status_code
        return 200

    async def ask_all() -> list[int]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(limit + 4))
        return await asyncio.gather(*(ask(kit.rest()) for _ in range(limit + 2)))

    with raw_device(kit, pair, "busy") as device:
        device.send(subscribe(METHODS))
        assert device.packet()[0] == SUBACK
        codes = asyncio.run(ask_all())
    assert sorted(codes) == [429] * 2 + [504] * limit


# ---------------------------------------------------------------------------------------------------- AMQP


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
    with pytest.raises(CannotStart, match=r"expected 127\.0\.1\.14:\d+ to be free .* got another process .* did not"):
        HubThread(taken).start()
    second = HubThread(settings)  # on the other two ports nothing was left behind
    second.start()
    second.stop()


def test_a_certificate_that_can_not_be_read_is_said(kit: Kit, tmp_path: Path) -> None:
    for flaw in ({"key": tmp_path / "none"}, {"ca": kit.hub.settings.key}):
        settings = replace(kit.hub.settings, state_dir=tmp_path, mqtt_port=28883, **flaw)
        with pytest.raises(CannotStart, match=r"expected readable PEM certificates, got .*did not start"):
            HubThread(settings).start()
