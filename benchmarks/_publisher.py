"""A device's MQTT for benchmarks: telemetry of QoS 1, with a window of messages that are not acknowledged yet."""

from __future__ import annotations

import asyncio

from tests.mqtt_packets import connect, events, publish

WINDOW = 64


class Publisher:
    """The device's MQTT: QoS 1, at most WINDOW messages without their PUBACK."""

    def __init__(self, device: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._device, self._reader, self._writer, self.sent, self._acked = device, reader, writer, 0, 0
        self._topic = events(device)

    async def greet(self) -> None:
        """CONNECT, and its CONNACK."""
        self._writer.write(connect(self._device, f"hub/{self._device}/?api-version=2021-04-12", keep_alive=60))
        answer = await self._reader.readexactly(4)
        if answer[0] >> 4 != 2 or answer[3]:
            raise SystemExit(f"expected to be connected, got {answer.hex()}; nothing was measured")

    async def publish(self, body: bytes) -> None:
        """Send one more; waits while too many are without an answer."""
        self.sent += 1
        self._writer.write(publish(self._topic, body, (self.sent - 1) % 65535 + 1))
        if self.sent - self._acked >= WINDOW:
            await self._writer.drain()
            await self.settle(WINDOW // 2)

    async def settle(self, open_: int = 0) -> None:
        """Wait until at most `open_` messages are without their PUBACK (4 bytes each)."""
        while self.sent - self._acked > open_:
            await self._reader.readexactly(4)
            self._acked += 1
