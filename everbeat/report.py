"""Measures a demo from the outside: a viewer a patient like any browser, the devices' own word on what they sent, and
what the shards counted.

End-to-end time is from the device's clock when it closed a frame to the arrival of what was made of it on a viewer's
socket, so the time that readings wait in the frame (the batching delay) is left out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import socketio

from twin_engine.messages import read_wire
from web.sockets import SOCKET_NAMESPACE

log = logging.getLogger(__name__)
SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a measured run found."""

    patients: int
    readings_sent: int
    readings_stored: int
    samples_shown: int
    duplicates: int
    refused: int
    lost: int  # sent and not stored, or given up by the device
    spooled: int  # envelopes without a receipt when the device stopped
    end_to_end_ms: dict[str, float]
    frames_measured: int
    peak_memory_mb: dict[str, float]
    restarts: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """For the report file."""
        return asdict(self)


class Probe:
    """A viewer for each patient, that measures, and the counters of all shards."""

    def __init__(
        self, port: int, patients: Sequence[str], before: dict[str, int], counters: Callable[[], dict[str, int]]
    ) -> None:
        """`before`: the counters before the run; they go on over runs. `counters`: what they are now."""
        self._before, self._counters = before, counters
        self._viewers = [_Viewer(port, patient) for patient in patients]

    def start(self) -> None:
        """Connect as browsers would."""
        for viewer in self._viewers:
            viewer.connect()

    def settle(self) -> None:
        """Wait until nothing new is stored any more, then leave."""
        before, still_s = -1, time.monotonic()
        while time.monotonic() - still_s < SETTLE_S:
            stored = self._counters().get("stored", 0)
            if stored != before:
                before, still_s = stored, time.monotonic()
            time.sleep(0.2)
        for viewer in self._viewers:
            viewer.disconnect()

    def report(self, sent: Sequence[dict[str, Any]], peaks_mb: dict[str, float], restarts: dict[str, int]) -> Report:
        """Everything together. `sent` is what each device reported last."""
        latencies_ms = [one for viewer in self._viewers for one in viewer.latencies_ms]
        known = np.array(latencies_ms or [np.nan])
        count = {name: n - self._before.get(name, 0) for name, n in self._counters().items()}
        stored = count.get("stored", 0)
        return Report(
            patients=len(self._viewers),
            readings_sent=sum(int(one["readings_sent"]) for one in sent),  # each device must have said it
            readings_stored=stored,
            samples_shown=sum(viewer.shown for viewer in self._viewers),
            duplicates=count.get("duplicates", 0),
            refused=count.get("refused", 0),
            lost=_lost(sent, stored),
            spooled=sum(_whole(one, "spooled") for one in sent),
            end_to_end_ms={f"p{q}": round(float(np.percentile(known, q)), 1) for q in (50, 95, 99)},
            frames_measured=len(latencies_ms),
            peak_memory_mb=peaks_mb,
            restarts=restarts,
        )


class _Viewer:
    """One patient's page, without the page. One thread of the socket library calls the handlers."""

    def __init__(self, port: int, patient: str) -> None:
        self.latencies_ms: list[float] = []
        self.shown = 0
        self._url, self._patient = f"http://127.0.0.1:{port}", patient
        self._client = socketio.Client(reconnection=True, reconnection_delay=0.5, logger=False)
        self._newest_frame_s = 0.0
        self._client.on("status", self._status, namespace=SOCKET_NAMESPACE)
        self._client.on("frame", self._frame, namespace=SOCKET_NAMESPACE)

    def connect(self) -> None:
        """Open the patient's room. Raises socketio's ConnectionError where the page does not take it."""
        self._client.connect(
            self._url,
            auth={"patient": self._patient},
            namespaces=[SOCKET_NAMESPACE],
            transports=["websocket"],  # this client names its own Origin
        )

    def disconnect(self) -> None:
        """Leave the room."""
        self._client.disconnect()

    def _status(self, facts: dict[str, Any]) -> None:
        now_s = time.time()
        frame_s = max((device["last_frame_s"] for device in facts["devices"].values()), default=0.0)
        if self._newest_frame_s and frame_s > self._newest_frame_s:
            self.latencies_ms.append((now_s - frame_s) * 1e3)
        self._newest_frame_s = max(self._newest_frame_s, frame_s)

    def _frame(self, data: bytes) -> None:
        _, _, blocks = read_wire(data)
        self.shown += sum(len(block) for block in blocks)


def _lost(sent: Sequence[dict[str, Any]], stored: int) -> int:
    """What the devices gave up, or sent in this boot beyond what was stored in this run."""
    given_up = sum(_whole(one, "dropped_readings") + _whole(one, "unsealed_readings") for one in sent)
    return max(given_up, sum(int(one["readings_sent"]) for one in sent) - stored, 0)


def _whole(properties: dict[str, Any], name: str) -> int:
    return int(properties.get(name, 0))
