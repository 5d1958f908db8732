"""The hub's pure parts: codecs that refuse any bytes by one error, the log's bounds and numbers, tokens, twins."""

from __future__ import annotations

import base64
import contextlib
import math
import sqlite3
import time
import uuid
from pathlib import Path

import pytest
from azure.eventhub._pyamqp._decode import decode_payload
from azure.eventhub._pyamqp.utils import generate_sas_token
from azure.iot.hub.sastoken import SasToken
from hypothesis import given, settings
from hypothesis import strategies as st

from device.hub import topics
from device.hub.amqp_codec import DecodeError, Described, Strings, Symbol, Timestamp, Ulong, decode, encode
from device.hub.amqp_frames import FLOW, AmqpError, FrameReader, encode_frame
from device.hub.amqp_messages import decode_request, encode_event
from device.hub.amqp_nodes import parse_address
from device.hub.events import Event, EventLog, Partition, Telemetry
from device.hub.mqtt_codec import MalformedPacket, PacketReader, read_connect, read_publish, read_subscribe
from device.hub.registry import DATABASE, Registry, RegistryError, UnknownDevice
from device.hub.sas import Unauthorized, event_key, prove, rest_key
from device.hub.settings import CannotStart, Policy, Right
from device.hub.topics import TelemetryTopic, meaning
from device.hub.twins import BadPatch, Section, parse_object

KEY = base64.b64encode(bytes(range(32))).decode()
POLICY = Policy("service", KEY, Right.SERVICE)
NAMES = frozenset({"127.0.0.2", "127.0.0.2:8443"})
plain = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()
)
values = st.recursive(plain | st.uuids(), lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(), v, max_size=4))


def body_of(data: bytes) -> bytes:
    """The application data of an event's message, as the SDK reads it."""
    return b"".join(decode_payload(memoryview(data)).data)


# ------------------------------------------------------------------------------------------------- codecs


@given(values)
def test_what_is_encoded_in_amqp_decodes_to_the_same(value: object) -> None:
    data = encode(value)
    assert decode(data) == (value, len(data))


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_any_bytes_are_an_amqp_value_or_a_decode_error(data: bytes) -> None:
    for attempt in (decode, decode_request):
        try:
            attempt(data)
        except (DecodeError, AmqpError):
            continue


def test_a_small_message_can_not_ask_for_a_large_object() -> None:
    for bomb in (
        b"\xf0" + b"\0\0\0\x09" + b"\xff\xff\xff\xff" + b"\x40",
        b"\xd0\xff\xff\xff\xff\0\0\0\1",
        b"\0" * 5000,
    ):
        with pytest.raises(DecodeError):
            decode(bomb)


@given(st.binary(max_size=300), st.integers(1, 50))
@settings(max_examples=300)
def test_any_stream_is_mqtt_or_malformed_however_it_is_cut(data: bytes, step: int) -> None:
    reader = PacketReader(1000)
    try:
        for at in range(0, len(data), step):
            for packet in reader.feed(data[at : at + step]):
                for read in (read_connect, read_publish, read_subscribe):
                    try:
                        read(packet)
                    except MalformedPacket:
                        continue
    except MalformedPacket:
        pass


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_any_stream_is_amqp_or_an_error(data: bytes) -> None:
    reader = FrameReader()
    reader.feed(data)
    with contextlib.suppress(AmqpError, DecodeError):
        list(reader.frames())


@given(st.text(max_size=80))
def test_any_topic_has_a_meaning_or_is_refused(topic: str) -> None:
    for text in (topic, "devices/d/messages/events/" + topic, "$iothub/twin/" + topic, "$iothub/methods/res/" + topic):
        try:
            meaning("d", text)
        except MalformedPacket:
            continue


def test_properties_come_out_of_a_topic_as_they_went_in() -> None:
    bag = "%24.mid=m%201&%24.ct=application%2Foctet-stream&a%26b=c%3Dd&empty="
    assert meaning("d", f"devices/d/messages/events/{bag}") == TelemetryTopic(
        {"mid": "m 1", "ct": "application/octet-stream"}, {"a&b": "c=d", "empty": ""}
    )
    assert topics.method_request("a/b", "7") == "$iothub/methods/POST/a%2Fb/?$rid=7"


def test_an_event_reads_in_the_sdks_own_decoder() -> None:
    sent = Telemetry("dev", "gen", b"\x00\xff", {"ct": "text/plain", "cid": "c", "uid": "u"}, {"k": "v"})
    message = decode_payload(memoryview(encode_event(2**50, 1_700_000_000_000, sent)))
    assert (b"".join(message.data), message.application_properties) == (b"\x00\xff", {b"k": b"v"})
    assert message.message_annotations[b"x-opt-sequence-number"] == 2**50
    assert message.message_annotations[b"x-opt-enqueued-time"] == 1_700_000_000_000
    assert (message.properties.content_type, message.properties.correlation_id) == (b"text/plain", b"c")


def test_a_frame_names_its_fields() -> None:
    reader = FrameReader()
    reader.feed(encode_frame(FLOW, 3, handle=1, link_credit=2**32 - 1, drain=True))
    frame = reader.frame()
    assert frame is not None
    assert (frame.channel, frame.integer("link_credit"), frame.flag("drain")) == (3, 2**32 - 1, True)
    with pytest.raises(AmqpError, match="expected an integer as delivery_count"):
        frame.integer("delivery_count")
    with pytest.raises(TypeError):
        encode_frame(FLOW, 0, no_such_field=1)


def test_what_amqp_has_of_its_own_is_marked_by_its_class() -> None:
    described = decode(encode(Described(Ulong(0x72), {Symbol("t"): Timestamp(5)})))[0]
    assert isinstance(described, Described)
    assert (described.descriptor, described.value) == (0x72, {"t": 5})
    assert decode(encode(Strings((Symbol("a"), Symbol("b")))))[0] == ["a", "b"]
    assert encode(uuid.UUID(int=1))[0] == 0x98


@pytest.mark.parametrize("text", ["", "a", "a/Partitions/0", "h/ConsumerGroups/g/Partitions/-1", "x" * 10_000])
def test_an_address_that_names_no_partition_is_refused(text: str) -> None:
    with pytest.raises(AmqpError):
        parse_address(text)


# ---------------------------------------------------------------------------------------------------- log


def event(sequence: int, size: int = 10) -> Event:
    return Event(sequence, sequence * 10, "d", bytes(size))


def test_the_log_drops_its_oldest_beyond_its_bounds_and_counts_them() -> None:
    by_count, by_bytes = Partition(100, 3, 1000), Partition(100, 1000, 35)
    for partition in (by_count, by_bytes):
        for i in range(100, 110):
            partition.append(event(i))
        assert (partition.start, partition.end, partition.dropped) == (107, 110, 7)
        assert partition.get(106) is None
        assert partition.get(110) is None
        assert partition.get(107) == event(107)
    by_bytes.append(event(110, 500))
    assert by_bytes.get(110) is not None  # one event is held, whatever its size


def test_reading_resumes_where_it_was_and_at_the_start_where_that_can_not_be() -> None:
    partition = Partition(100, 3, 1000)
    assert partition.after(50) == partition.after(99) == partition.after(100) == 100
    for i in range(100, 105):
        partition.append(event(i))
    assert [partition.after(n) for n in (-1, 100, 101, 103, 104)] == [102, 102, 102, 104, 105]
    assert partition.after(105) == partition.after(10**18) == 102  # a checkpoint of a hub whose state is gone
    assert [partition.since(t) for t in (0, 1025, 1030, 1040)] == [102, 103, 104, 105]


def test_an_event_is_readable_and_its_readers_woken_when_append_returns() -> None:
    log = EventLog((Partition(5, 10, 1000),), encode_event, lambda: 1.5)
    woken = list[int]()
    log.partitions[0].listen(lambda: woken.append(log.partitions[0].end))
    stored = log.append(Telemetry("d", "g", b"body", {}, {}))
    assert (stored.sequence, stored.enqueued_ms, woken) == (5, 1500, [6])
    assert log.partitions[0].get(5) is stored
    assert body_of(stored.wire) == b"body"


# ------------------------------------------------------------------------------------------------- tokens


def test_both_sdks_tokens_are_proven_with_one_policy() -> None:
    rest = str(SasToken("127.0.0.2:8443", KEY, "service", 60))
    events = generate_sas_token("sb://127.0.0.2/everbeat", "service", KEY, int(time.time()) + 60)
    whole = prove(rest, [(POLICY, rest_key(POLICY))], NAMES, time.time())
    part = prove(events, [(POLICY, event_key(POLICY))], NAMES, time.time())
    assert whole.covers("/twins/x", Right.SERVICE, time.time())
    assert not whole.covers("/devices/x", Right.REGISTRY_READ, time.time())
    assert not whole.covers("/twins/x", Right.SERVICE, time.time() + 61)
    assert part.covers("/everbeat/consumergroups/g", Right.SERVICE, time.time())
    assert not part.covers("/everbeat2", Right.SERVICE, time.time())
    for token, key in ((rest, event_key(POLICY)), (events, rest_key(POLICY))):
        with pytest.raises(Unauthorized):
            prove(token, [(POLICY, key)], NAMES, time.time())


@given(st.text(max_size=200), st.integers(0, 200), st.characters(codec="utf-8"))
def test_any_text_and_any_change_of_a_token_is_unauthorized(text: str, at: int, other: str) -> None:
    true = str(SasToken("127.0.0.2", KEY, "service", 60))
    at %= len(true)
    changed = true[:at] + other + true[at + 1 :]
    for token in (text, "SharedAccessSignature " + text, *([changed] if changed != true else [])):
        try:
            grant = prove(token, [(POLICY, rest_key(POLICY))], NAMES, time.time())
        except Unauthorized:
            continue
        # Only what changes no meaning may pass: base64's unused bits, the case of %2f, a host's case
        assert (grant.path, grant.authority, grant.rights) == ("", "127.0.0.2", Right.SERVICE)
        assert math.isclose(grant.expires_s, time.time() + 60, abs_tol=5)


def test_a_key_reaches_no_log() -> None:
    assert KEY not in repr(POLICY)


# -------------------------------------------------------------------------------------- registry and twins


def test_numbers_grow_though_the_clock_is_set_back_and_the_registry_opened_again(tmp_path: Path) -> None:
    now = [2000.0]
    first = Registry(tmp_path, lambda: now[0])
    a = first.reserve("event", int(now[0] * 1e6), 100)
    first.close()
    now[0] = 1000.0
    second = Registry(tmp_path, lambda: now[0])
    b = second.reserve("event", int(now[0] * 1e6), 100)
    assert (a, b) == (2_000_000_000, 2_000_000_100)
    second.close()


def test_two_processes_may_use_one_registry(tmp_path: Path) -> None:
    one, two = Registry(tmp_path, time.time), Registry(tmp_path, time.time)
    generation = one.enrol("d", "ab" * 32).generation
    for i in range(20):
        (one, two)[i % 2].patch_twin("d", {"n": i}, None)
    assert two.twin("d").desired == Section({"n": 19}, 21, one.twin("d").desired.updated_ms)
    again = two.enrol("d", "AB:" * 31 + "cd")
    assert (again.generation, again.revision, again.thumbprints[0]) == (generation, 2, "AB" * 31 + "CD")
    two.remove("d")
    with pytest.raises(UnknownDevice):
        one.twin("d")
    assert one.enrol("d").generation != generation
    assert one.twin("d").desired.properties == {}


@pytest.mark.parametrize("name", ["", "a/b", "a b", "#", "+", "x" * 129, "a\n"])
def test_an_id_that_would_not_fit_a_topic_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RegistryError, match="no device was made"):
        Registry(tmp_path, time.time).enrol(name)


def test_a_change_that_fails_halfway_changes_nothing(tmp_path: Path) -> None:
    registry = Registry(tmp_path, time.time)
    registry.enrol("d")
    with pytest.raises(BadPatch):
        registry.patch_twin("d", {"fine": 1}, {"too": "x" * 40_000})
    assert registry.twin("d").version == 3
    registry.patch_twin("d", {"fine": 1}, None)  # and the lock is free


def test_a_registry_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"no database at all, but long enough to be looked at" * 50)
    with pytest.raises(CannotStart, match=r"expected a device registry in .* got .*; nothing was opened"):
        Registry(tmp_path, time.time)
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(tmp_path / DATABASE).execute("SELECT * FROM device")


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"3", b"NaN", b'{"a": NaN}', b'{"a": 1e999}', b"{" * 9, b"\xff", b"[" * 10_000]
)
def test_what_is_no_json_object_is_no_patch(text: bytes) -> None:
    with pytest.raises(BadPatch):
        parse_object(text)


def test_a_replacement_tells_the_device_what_is_gone() -> None:
    old = Section({"a": 1, "b": {"c": 2}}, 4, 0)
    new = old.replaced({"b": {"d": 3}}, 1)
    assert (new.version, old.difference(new)) == (5, {"a": None, "b": {"d": 3}})
