"""The unmodified azure-eventhub consumer against the local hub: partitions, offsets, claims, epochs, restarts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from azure.eventhub import EventData, TransportType
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext
from azure.eventhub.exceptions import AuthenticationError, EventHubError
from azure.iot.device import Message
from azure.iot.device.aio import IoTHubDeviceClient

from tests.hub_kit import OTHER_KEY, Kit, device_sha, eventually, in_loop, running_hub

pytestmark = pytest.mark.hub
DEVICES = ("bed-1", "bed-2")  # one in each partition


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    with running_hub("127.0.1.13", tmp_path_factory.mktemp("hub")) as kit:
        yield kit


class Seen:
    """What a consumer was given, in its order, by partition."""

    def __init__(self) -> None:
        self.events: list[tuple[str, EventData]] = []
        self.errors: list[Exception] = []

    def of(self, partition: int) -> list[EventData]:
        return [event for number, event in self.events if number == str(partition)]

    def bodies(self) -> list[bytes]:
        return [body(event) for _, event in self.events]

    async def take(self, context: PartitionContext, event: EventData | None) -> None:
        if event is not None:
            self.events.append((context.partition_id, event))

    async def fail(self, _: PartitionContext, error: Exception) -> None:
        self.errors.append(error)


def body(event: EventData) -> bytes:
    return b"".join(event.body)


@contextlib.asynccontextmanager
async def reading_all(*readers: tuple[EventHubConsumerClient, dict[str, object]]) -> AsyncIterator[list[Seen]]:
    """Read with several clients in the background; what each has seen. They end together: each takes a second."""
    all_seen = [Seen() for _ in readers]
    tasks = [
        asyncio.create_task(client.receive(on_event=seen.take, on_error=seen.fail, **options))
        for (client, options), seen in zip(readers, all_seen, strict=True)
    ]
    try:
        yield all_seen
    finally:
        await asyncio.gather(*(client.close() for client, _ in readers))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def reading(client: EventHubConsumerClient, **options: object) -> AsyncIterator[Seen]:
    """Read with one client in the background."""
    async with reading_all((client, options)) as (seen,):
        yield seen


@contextlib.asynccontextmanager
async def connected(kit: Kit, *names: str) -> AsyncIterator[list[IoTHubDeviceClient]]:
    clients = [kit.device(name, kit.enrol(name)) for name in names]
    for client in clients:
        await client.connect()
    try:
        yield clients
    finally:
        for client in clients:
            await client.shutdown()


async def until_read(device: IoTHubDeviceClient, seen: Seen) -> None:
    """Send until a consumer has something: the SDK attaches when it likes and tells nobody."""
    for i in range(100):
        await device.send_message(f"are you there {i}")
        await asyncio.sleep(0.1)
        if seen.events:
            return
    raise AssertionError("expected the consumer to read what was sent within 10 s")


async def offset_now(kit: Kit, partition: int) -> str:
    async with kit.consumer() as consumer:
        return (await consumer.get_partition_properties(str(partition)))["last_enqueued_offset"]


@in_loop
async def test_an_event_carries_what_iot_hub_would_say_of_it(kit: Kit) -> None:
    partition = device_sha("bed-1", 2)
    start = await offset_now(kit, partition)
    async with connected(kit, "bed-1") as (device,):
        message = Message(bytes(range(256)), message_id="m-1", content_type="application/octet-stream")
        message.custom_properties["lane"] = "a b&c=d"
        await device.send_message(message)
    async with reading(kit.consumer(), partition_id=str(partition), starting_position=start) as seen:
        await eventually(lambda: seen.events, what="the event")
    event = seen.events[0][1]
    system = event.system_properties
    assert body(event) == bytes(range(256))
    assert system[b"iothub-connection-device-id"] == b"bed-1"
    assert b'"type":"x509"' in system[b"iothub-connection-auth-method"]
    assert len(system[b"iothub-connection-auth-generation-id"]) == 32
    assert abs(system[b"iothub-enqueuedtime"] / 1000 - datetime.now(UTC).timestamp()) < 10
    assert (event.content_type, event.message_id) == ("application/octet-stream", "m-1")
    assert event.properties == {b"lane": b"a b&c=d"}
    assert event.offset == str(event.sequence_number)
    assert abs((datetime.now(UTC) - event.enqueued_time).total_seconds()) < 10


@in_loop
async def test_two_thousand_messages_of_two_devices_arrive_exactly_once_and_in_order(kit: Kit) -> None:
    starts = {str(i): await offset_now(kit, i) for i in range(2)}
    async with connected(kit, *DEVICES) as devices, reading(kit.consumer(), starting_position=starts) as seen:

        async def send(device: IoTHubDeviceClient, name: str) -> None:
            for i in range(1000):  # each awaited: the SDK keeps no order among sends that run at once
                await device.send_message(f"{name} {i}")

        await asyncio.gather(*(send(d, n) for d, n in zip(devices, DEVICES, strict=True)))
        await eventually(lambda: len(seen.events) >= 2000, 30, "2,000 events")
        await asyncio.sleep(0.2)
    assert len(seen.events) == 2000
    for name in DEVICES:
        events = seen.of(device_sha(name, 2))
        assert [body(event).decode() for event in events] == [f"{name} {i}" for i in range(1000)]
        numbers = [event.sequence_number for event in events]
        assert numbers == list(range(numbers[0], numbers[0] + 1000))


@in_loop
async def test_a_message_of_the_largest_size_passes_whole(kit: Kit) -> None:
    large = bytes(i % 251 for i in range(255 * 1024))
    partition = device_sha("bed-1", 2)
    async with reading(
        kit.consumer(), partition_id=str(partition), starting_position=await offset_now(kit, partition)
    ) as seen:
        async with connected(kit, "bed-1") as (device,):
            await device.send_message(Message(large))
            await device.send_message(Message(b"small"))
        await eventually(lambda: len(seen.events) == 2, what="both")
    assert seen.bodies() == [large, b"small"]


@in_loop
async def test_reading_resumes_after_an_offset_a_number_or_a_time(kit: Kit) -> None:
    partition = device_sha("bed-2", 2)
    start = int(await offset_now(kit, partition))
    async with connected(kit, "bed-2") as (device,):
        for i in range(3):
            await device.send_message(f"before {i}")
        await asyncio.sleep(0.05)
        moment = datetime.now(UTC)
        await asyncio.sleep(0.05)
        for i in range(3):
            await device.send_message(f"after {i}")
    expected = [b"before 2", b"after 0", b"after 1", b"after 2"]
    cases: list[tuple[object, bool, list[bytes]]] = [
        (str(start + 3), False, expected[1:]),
        (str(start + 3), True, expected),
        (start + 3, False, expected[1:]),
        (moment, False, expected[1:]),
    ]
    readers = [
        (
            kit.consumer(),
            {"partition_id": str(partition), "starting_position": p, "starting_position_inclusive": inclusive},
        )
        for p, inclusive, _ in cases
    ]
    async with reading_all(*readers) as all_seen:
        await eventually(lambda: all(s.bodies()[-1:] == [b"after 2"] for s in all_seen), what="the last event")
    for seen, (position, inclusive, bodies) in zip(all_seen, cases, strict=True):
        assert seen.bodies() == bodies, (position, inclusive)


@in_loop
async def test_from_latest_only_what_comes_is_read(kit: Kit) -> None:
    partition = device_sha("bed-1", 2)
    async with connected(kit, "bed-1") as (device,):
        await device.send_message("old")
        async with reading(kit.consumer(), partition_id=str(partition), starting_position="@latest") as seen:
            await until_read(device, seen)
    assert b"old" not in seen.bodies()


@in_loop
async def test_several_consumers_read_the_same_events(kit: Kit) -> None:
    starts = {str(i): await offset_now(kit, i) for i in range(2)}
    async with reading_all(*((kit.consumer(), {"starting_position": starts}) for _ in range(3))) as all_seen:
        async with connected(kit, *DEVICES) as devices:
            for i in range(20):
                await asyncio.gather(*(device.send_message(str(i)) for device in devices))
        await eventually(lambda: all(len(seen.events) == 40 for seen in all_seen), what="40 events each")
    assert all(not seen.errors for seen in all_seen)


@in_loop
async def test_offsets_grow_over_a_restart_and_a_checkpoint_of_before_hides_nothing(kit: Kit) -> None:
    partition = device_sha("bed-1", 2)
    async with connected(kit, "bed-1") as (device,):
        await device.send_message("before")
        checkpoint = await offset_now(kit, partition)
        kit.hub.stop()
        kit.hub.start()
        await eventually(lambda: device.connected, 15, "the device to be back")
        await asyncio.wait_for(device.send_message("after"), 15)
    async with reading(kit.consumer(), partition_id=str(partition), starting_position=checkpoint) as seen:
        await eventually(lambda: seen.events, what="the event after the restart")
    assert seen.bodies() == [b"after"]
    assert int(seen.events[0][1].offset) > int(checkpoint)


@in_loop
async def test_a_consumer_survives_a_restart_of_the_hub(kit: Kit) -> None:
    partition = device_sha("bed-1", 2)
    start = await offset_now(kit, partition)
    options = {"retry_total": 10, "retry_mode": "fixed", "retry_backoff_factor": 0.2}
    async with (
        connected(kit, "bed-1") as (device,),
        reading(kit.consumer(**options), partition_id=str(partition), starting_position=start) as seen,
    ):
        await device.send_message("one")
        await eventually(lambda: len(seen.events) == 1, what="the first")
        kit.hub.stop()
        kit.hub.start()
        await eventually(lambda: device.connected, 15, "the device to be back")
        await asyncio.wait_for(device.send_message("two"), 15)
        await eventually(lambda: seen.bodies()[-1] == b"two", 20, "the second")
    assert seen.bodies().count(b"two") == 1


@in_loop
async def test_the_hub_tells_its_partitions(kit: Kit) -> None:
    async with kit.consumer() as consumer:
        assert (await consumer.get_eventhub_properties())["eventhub_name"] == "everbeat"
        assert await consumer.get_partition_ids() == ["0", "1"]
        facts = await consumer.get_partition_properties("1")
        assert facts["id"] == "1"
        assert int(facts["last_enqueued_offset"]) == facts["last_enqueued_sequence_number"]


@in_loop
async def test_a_hub_on_another_port_is_reached_by_a_custom_address_with_tls_and_not_without(tmp_path: Path) -> None:
    with running_hub("127.0.1.15", tmp_path, amqp_port=25671) as other:
        where = {"custom_endpoint_address": "sb://127.0.1.15:25671", "transport_type": TransportType.Amqp}
        async with other.consumer(**where) as consumer:
            assert await consumer.get_partition_ids() == ["0", "1"]
        async with other.consumer(**where, use_tls=False, retry_total=0) as consumer:
            with pytest.raises(EventHubError):
                await asyncio.wait_for(consumer.get_partition_ids(), 5)


@in_loop
async def test_a_consumer_that_asks_learns_how_far_the_partition_has_come(kit: Kit) -> None:
    partition = device_sha("bed-1", 2)
    start = await offset_now(kit, partition)
    async with connected(kit, "bed-1") as (device,):
        await device.send_message("x")
        await device.send_message("y")
    told = list[dict[str, object]]()
    client = kit.consumer()

    async def take(context: PartitionContext, event: EventData) -> None:
        told.append(dict(context.last_enqueued_event_properties))

    async with client:
        task = asyncio.create_task(
            client.receive(on_event=take, partition_id=str(partition), starting_position=start,
                           track_last_enqueued_event_properties=True)
        )  # fmt: skip
        await eventually(lambda: len(told) == 2, what="two events")
        await client.close()
        task.cancel()
    assert told[0]["offset"] == str(int(start) + 2)


@in_loop
async def test_a_wrong_key_is_unauthorized(kit: Kit) -> None:
    async with kit.consumer(key=OTHER_KEY, retry_total=0) as consumer:
        with pytest.raises(AuthenticationError):
            await consumer.get_partition_ids()
    async with reading(kit.consumer(key=OTHER_KEY, retry_total=0), partition_id="0") as seen:
        await eventually(lambda: seen.errors, what="a refusal")
    assert isinstance(seen.errors[0], AuthenticationError)
    assert not seen.events


@pytest.mark.parametrize("where", [{"group": "strangers"}, {"hub": "another"}, {"partition_id": "7"}])
@in_loop
async def test_what_does_not_exist_is_not_read(
    kit: Kit, where: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    options = dict(where)
    partition = options.pop("partition_id", "0")
    async with reading(kit.consumer(**options, retry_total=0), partition_id=partition, starting_position="-1") as seen:
        await eventually(lambda: seen.errors or "a link was refused" in caplog.text, what="a refusal")
    assert not seen.events


@in_loop
async def test_a_reader_with_a_higher_epoch_takes_the_partition(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    where = {"partition_id": str(device_sha("bed-1", 2)), "starting_position": "@latest"}
    async with (
        connected(kit, "bed-1") as (device,),
        reading(kit.consumer(retry_total=0), **where, owner_level=1) as old,
    ):
        await until_read(device, old)
        async with reading(kit.consumer(), **where, owner_level=2) as new:
            await eventually(lambda: old.errors, what="the old reader to be driven out")
            assert "stolen" in str(old.errors[0])
            count = len(old.events)
            await until_read(device, new)
            async with reading(kit.consumer(retry_total=0), **where) as without:
                await eventually(lambda: "another reader is at work" in caplog.text, what="a refusal")
    assert len(old.events) == count
    assert not without.events


def test_devices_spread_over_the_partitions_by_a_rule_that_never_changes() -> None:
    assert {name: device_sha(name, 2) for name in DEVICES} == {"bed-1": 0, "bed-2": 1}
