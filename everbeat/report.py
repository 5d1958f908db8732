"""Measures a demo from the outside: a viewer like any browser, and the device's own word on what it sent.

End-to-end time is from the device's clock when it closed a frame to the arrival of what was made of it on a viewer's
socket, so the time that readings wait in the frame (the batching delay) is left out.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import socketio

from twin_engine.messages import decode_wire
from web.app import SOCKET_NAMESPACE

log = logging.getLogger(__name__)
SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a measured run found."""

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
    """A viewer that measures. One thread of the socket library calls the handlers."""

    def __init__(self, port: int, patient: str, before: dict[str, int]) -> None:
        """`before`: the shard's counters before the run; they go on over runs."""
        self._before = before
        self._url = f"http://127.0.0.1:{port}"
        self._patient = patient
        self._client = socketio.Client(reconnection=True, reconnection_delay=0.5, logger=False)
        self._lock = threading.Lock()
        self._latencies_ms: list[float] = []
        self._newest_frame_s = 0.0
        self._counters: dict[str, int] = {}
        self._shown = 0
        self._client.on("status", self._status, namespace=SOCKET_NAMESPACE)
        self._client.on("frame", self._frame, namespace=SOCKET_NAMESPACE)

    def start(self) -> None:
        """Connect as a browser would."""
        self._client.connect(
            self._url,
            auth={"patient": self._patient},
            namespaces=[SOCKET_NAMESPACE],
            transports=["websocket"],  # this client names its own Origin
        )

    def settle(self) -> None:
        """Wait until nothing new is stored any more, then leave."""
        before, still_s = -1, time.monotonic()
        while time.monotonic() - still_s < SETTLE_S:
            stored = self._counters.get("stored", 0)
            if stored != before:
                before, still_s = stored, time.monotonic()
            time.sleep(0.1)
        self._client.disconnect()

    def report(self, sent: dict[str, Any], peaks_mb: dict[str, float], restarts: dict[str, int]) -> Report:
        """Everything together. `sent` is what the device reported last."""
        with self._lock:
            latencies = np.array(self._latencies_ms or [np.nan])
            count = {name: n - self._before.get(name, 0) for name, n in self._counters.items()}
            stored = count.get("stored", 0)
            quantiles = {f"p{q}": round(float(np.percentile(latencies, q)), 1) for q in (50, 95, 99)}
            return Report(
                readings_sent=int(sent["readings_sent"]),
                readings_stored=stored,
                samples_shown=self._shown,
                duplicates=count.get("duplicates", 0),
                refused=count.get("refused", 0),
                lost=_lost(sent, stored),
                spooled=int(sent.get("spooled", 0)),
                end_to_end_ms=quantiles,
                frames_measured=len(self._latencies_ms),
                peak_memory_mb=peaks_mb,
                restarts=restarts,
            )

    def _status(self, facts: dict[str, Any]) -> None:
        now_s = time.time()
        frame_s = max((device["last_frame_s"] for device in facts["devices"].values()), default=0.0)
        with self._lock:
            self._counters = facts["counters"]
            if self._newest_frame_s and frame_s > self._newest_frame_s:
                self._latencies_ms.append((now_s - frame_s) * 1e3)
            self._newest_frame_s = max(self._newest_frame_s, frame_s)

    def _frame(self, data: bytes) -> None:
        _, _, samples = decode_wire(data)
        with self._lock:
            self._shown += sum(len(s) for s in samples)


def _lost(sent: dict[str, Any], stored: int) -> int:
    """What the device gave up, or sent in this boot beyond what was stored in this run."""
    given_up = int(sent.get("dropped_readings", 0)) + int(sent.get("unsealed_readings", 0))
    return max(given_up, int(sent["readings_sent"]) - stored, 0)
