"""What no device's SDK would say to the hub: each misbehaviour ends its own connection, and nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from msrest.exceptions import HttpOperationError

from device.hub.topics import DESIRED, METHODS, TWIN_RESPONSES
from tests.hub_kit import Authority, Kit, Pair, eventually, faults, running_hub
from tests.hub_raw import DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBLISH, SUBACK, RawDevice, assert_serves, raw_device
from tests.mqtt_packets import connect, events, packet, publish, subscribe, text

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
def unharmed(kit: Kit, good: Pair, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After the test the hub serves a device as it did before, and has found no fault in itself."""
    yield
    assert not faults(caplog)
    assert_serves(kit, good, "good")


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
    kit: Kit, good: Pair, flaw: str, tmp_path: Path, unharmed: None, caplog: pytest.LogCaptureFixture
) -> None:
    kit.enrol("good", pinned=False)
    pair = {
        "expired": lambda: kit.ca.device("good", life=timedelta(days=-1)),
        "self-signed": lambda: kit.ca.device("good", self_signed=True),
        "of another CA": lambda: Authority(tmp_path, "rogue CA").device("good"),
        "of the server": lambda: kit.ca.server(kit.host),
    }[flaw]()
    assert refused_by_tls(kit, pair, "good")
    assert "expected a certificate of our CA, got one that fails" in caplog.text


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


@pytest.mark.alone
def test_a_device_that_falls_silent_is_dropped_after_one_and_a_half_times_its_keep_alive(
    kit: Kit, good: Pair, unharmed: None
) -> None:
    with raw_device(kit, good, "good", keep_alive=1) as device:
        for _ in range(2):
            time.sleep(0.9)
            device.send(PINGREQ)
            assert device.packet() == (PINGRESP, b"")
        start = time.monotonic()
        assert device.is_closed()
        assert 1.3 < time.monotonic() - start < 2.5


def test_a_device_that_asks_much_and_reads_nothing_is_dropped(
    kit: Kit, unharmed: None, caplog: pytest.LogCaptureFixture
) -> None:
    pair = kit.enrol("greedy")
    kit.rest().update_twin("greedy", Twin(properties=TwinProperties(desired={"x": "y" * 30_000})))
    with raw_device(kit, pair, "greedy") as device:
        device.send(subscribe(TWIN_RESPONSES))
        assert device.packet()[0] == SUBACK
        ask = publish("$iothub/twin/GET/?$rid=1", b"", None)
        with contextlib.suppress(OSError):
            for _ in range(100):
                device.send(ask * 200)
        asyncio.run(eventually(lambda: "greedy: dropped: it reads too slowly" in caplog.text))
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


def test_open_methods_are_bounded_time_out_and_may_be_answered_too_late(kit: Kit, unharmed: None) -> None:
    pair = kit.enrol("busy")
    limit = kit.hub.settings.max_methods

    def ask(rest: IoTHubRegistryManager) -> tuple[int, int]:
        """Status and IoT Hub's error code."""
        call = CloudToDeviceMethod(method_name="x", payload={}, response_timeout_in_seconds=5)
        with pytest.raises(HttpOperationError) as caught:
            rest.invoke_device_method("busy", call)
        detail = caught.value.response.json()["Message"].partition(";")[2]
        return caught.value.response.status_code, json.loads(detail)["errorCode"]

    with raw_device(kit, pair, "busy") as device, ThreadPoolExecutor(limit + 2) as pool:
        device.send(subscribe(METHODS))
        assert device.packet()[0] == SUBACK
        outcomes = sorted(pool.map(ask, [kit.rest() for _ in range(limit + 2)]))
        topic = device.packet()[1][2:].split(b"$rid=")[1].split(b"{")[0].decode()
        device.send(publish(f"$iothub/methods/res/200/?$rid={topic}", b"{}", 9))
        assert (PUBACK, b"\x00\x09") in [device.packet() for _ in range(limit)]
    assert outcomes == [(429, 429001)] * 2 + [(504, 504101)] * limit
