"""An admitted device's connection: reads its packets, does what they ask, in the order in which they came.

The device is who its certificate says; no packet can change that. Telemetry goes to the log before its PUBACK goes
to the device. Subscriptions of a session that is not clean outlive the connection and the hub, because the device
SDK subscribes once in its life and counts on IoT Hub's memory.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from itertools import islice

from device.hub import mqtt_codec as codec
from device.hub import mqtt_replies, topics
from device.hub.events import Telemetry
from device.hub.listener import read_some
from device.hub.mqtt_codec import Connect, MalformedPacket, Packet, Type
from device.hub.registry import Device, UnknownDevice
from device.hub.settings import MAX_MESSAGE_BYTES, MAX_METHOD_BYTES
from device.hub.switchboard import MethodResult, Switchboard
from device.hub.twins import BadPatch, parse_json, parse_object

logger = logging.getLogger("everbeat.hub.mqtt")

_MAX_KEEP_ALIVE_S = 1767  # IoT Hub's 29.45 minutes, also for a client that asks for no limit
_GRACE = 1.5  # section 3.1.2.10
_TURN = 50  # packets of one device before the others are served


class Session:
    """See above; it is the switchboard's Link to the device."""

    def __init__(
        self,
        board: Switchboard,
        device: Device,
        certificate: bytes,
        connect: Connect,
        packets: codec.PacketReader,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.device, self.certificate = device, certificate
        self._board, self._packets, self._reader, self._writer = board, packets, reader, writer
        self._idle_s = _GRACE * (min(connect.keep_alive_s, _MAX_KEEP_ALIVE_S) or _MAX_KEEP_ALIVE_S)
        self._clean, self._open = connect.clean, True
        stored = None if connect.clean else board.registry.subscriptions(device.id)
        self.present = stored is not None
        self._filters = stored or frozenset()
        if stored is None:
            board.registry.store_subscriptions(device.id, None if connect.clean else frozenset())

    def subscribed(self, topic_filter: str) -> bool:
        """See Link."""
        return topic_filter in self._filters

    def send(self, packet: bytes) -> None:
        """See Link."""
        transport = self._writer.transport
        if transport.is_closing():
            return
        self._writer.write(packet)
        if transport.get_write_buffer_size() > self._board.settings.write_buffer_bytes:
            logger.warning("%s: dropped: it reads too slowly", self.device.id)
            self._open = False
            transport.abort()  # what it does not read would keep a polite close waiting

    def drop(self, reason: str) -> None:
        """See Link."""
        logger.warning("%s: dropped: %s", self.device.id, reason)
        self._open = False
        self._writer.close()

    async def run(self, early: list[Packet]) -> None:
        """Obey packets until the device leaves, falls silent, errs (MalformedPacket) or is dropped."""
        loop = asyncio.get_running_loop()
        self._obey(early)
        deadline = loop.time() + self._idle_s
        while self._open:
            async with asyncio.timeout_at(deadline):
                data = await read_some(self._reader)
            packets = self._packets.feed(data)
            while self._open and self._obey(islice(packets, _TURN)):
                deadline = loop.time() + self._idle_s  # bytes that end no packet keep nobody alive
                async with asyncio.timeout_at(deadline):
                    await self._writer.drain()
                await asyncio.sleep(0)  # the other devices' turn

    def _obey(self, packets: Iterable[Packet]) -> int:
        """Do what the packets ask; how many they were. What is done is acknowledged even where the next one errs."""
        replies, count = list[bytes](), 0
        try:
            for packet in packets:
                if not self._open:
                    break
                replies.append(self._do(packet))
                count += 1
        finally:
            if replies:
                self.send(b"".join(replies))
        return count

    def _do(self, packet: Packet) -> bytes:
        match packet.type:
            case Type.PUBLISH:
                return self._publish(codec.read_publish(packet))
            case Type.PINGREQ:
                return mqtt_replies.pingresp()
            case Type.SUBSCRIBE:
                return self._subscribe(*codec.read_subscribe(packet))
            case Type.UNSUBSCRIBE:
                return self._unsubscribe(*codec.read_unsubscribe(packet))
            case Type.PUBACK:
                return b""  # for nothing: all we send is QoS 0
            case Type.DISCONNECT:
                self._open = False
                return b""
        raise MalformedPacket(f"expected no second {packet.type.name}, got one; the peer is dropped")  # 3.1

    def _subscribe(self, packet_id: int, wanted: list[tuple[str, int]]) -> bytes:
        allowed = topics.subscribable(self.device.id)
        self._keep(self._filters | {topic for topic, _ in wanted if topic in allowed})
        if any(topic == topics.METHODS for topic, _ in wanted):
            self._board.became_ready()
        codes = [min(qos, 1) if topic in allowed else mqtt_replies.SUBACK_REFUSED for topic, qos in wanted]
        return mqtt_replies.suback(packet_id, codes)

    def _unsubscribe(self, packet_id: int, unwanted: list[str]) -> bytes:
        self._keep(self._filters - set(unwanted))
        return mqtt_replies.unsuback(packet_id)

    def _keep(self, filters: frozenset[str]) -> None:
        if filters != self._filters and not self._clean:
            self._board.registry.store_subscriptions(self.device.id, filters)
        self._filters = filters

    def _publish(self, publish: codec.Publish) -> bytes:
        """What a publish asks for; then, and only then, its PUBACK. Raises MalformedPacket on a foreign topic."""
        match topics.meaning(self.device.id, publish.topic):
            case topics.TelemetryTopic(system, properties):
                self._telemetry(publish, system, properties)
            case topics.TwinGet(rid):
                self._twin_get(rid)
            case topics.TwinPatch(rid):
                self._twin_patch(rid, publish.payload)
            case topics.MethodResponse(status, rid):
                self._method_response(status, rid, publish.payload)
        return b"" if publish.packet_id is None else mqtt_replies.puback(publish.packet_id)

    def _telemetry(self, publish: codec.Publish, system: dict[str, str], properties: dict[str, str]) -> None:
        size = len(publish.payload) + sum(len(k) + len(v) for d in (system, properties) for k, v in d.items())
        if size > MAX_MESSAGE_BYTES:
            raise MalformedPacket(f"expected at most {MAX_MESSAGE_BYTES} bytes, got {size}; the peer is dropped")
        self._board.publish(Telemetry(self.device.id, self.device.generation, publish.payload, system, properties))

    def _twin_get(self, rid: str) -> None:
        try:
            twin = self._board.registry.twin(self.device.id)
        except UnknownDevice as error:  # removed by another process while it was connected
            raise MalformedPacket(str(error)) from error
        self._respond(topics.twin_response(200, rid), json.dumps(twin.for_device()).encode())

    def _twin_patch(self, rid: str, payload: bytes) -> None:
        try:
            twin = self._board.registry.patch_reported(self.device.id, parse_object(payload))
        except BadPatch as error:
            logger.warning("%s: %s", self.device.id, error)
            self._respond(topics.twin_response(400, rid), json.dumps({"message": str(error)}).encode())
        except UnknownDevice as error:
            raise MalformedPacket(str(error)) from error
        else:
            self._respond(topics.twin_response(204, rid, twin.reported.version), b"")

    def _method_response(self, status: int, rid: str, payload: bytes) -> None:
        if len(payload) > MAX_METHOD_BYTES:
            raise MalformedPacket(f"expected at most {MAX_METHOD_BYTES} bytes, got {len(payload)}; the peer is dropped")
        try:
            answer = parse_json(payload) if payload else None
        except BadPatch as error:
            raise MalformedPacket("expected JSON as a method's answer, got other bytes; the peer is dropped") from error
        self._board.answer(self.device.id, rid, MethodResult(status, answer))

    def _respond(self, topic: str, payload: bytes) -> None:
        if self.subscribed(topics.TWIN_RESPONSES):
            self.send(mqtt_replies.publish(topic, payload))
