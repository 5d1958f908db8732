"""What goes into the twin and what comes out of it: the fold's messages, its samples, and the browser's wire format.

In: :data:`Message`, from readings over what people did to the tick of the clock. Out: :class:`Samples` (the record
and the trace) and :class:`Event` (a line in the story of this twin). All of them are values; nothing here does I/O,
and nothing here imports torch, so that the web may read it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from twin_engine.registry import Limits

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]  # µs since 1970 UTC
Bytes = npt.NDArray[np.uint8]

LOWER, UPPER = 0.05, 0.95  # bounds are the central 90 %


class Provenance(IntEnum):
    """Where a shown value came from. The four low bits of a sample's provenance byte."""

    MEASURED = 0
    SYNTHESISED = 1
    PREDICTED = 2  # rebuilt from the device's own predictor within an agreed tolerance
    QUARANTINED = 3  # measured, distrusted: value is the raw reading, the bounds are the twin's estimate
    WITHHELD = 4  # no honest value


REVISED = 0x80  # set in the provenance byte: issued again after the gap closed


# ---------------------------------------------------------------------------------------------- into the fold


@dataclass(frozen=True, slots=True)
class ChannelReadings:
    """Readings of one channel, oldest first. `values` is NaN where the sensor failed to give one."""

    channel: str
    times_us: Times  # (N,) strictly increasing
    values: Floats  # (N,) in the signal's unit


@dataclass(frozen=True, slots=True)
class Readings:
    """A proven frame. `live` is False for the backfill lane, whose readings are never treated as the present."""

    device: str
    channels: tuple[ChannelReadings, ...]
    frame_ms: int  # device clock when the frame was closed
    live: bool = True
    source: str = "sensor"  # sensor, recording, simulated
    boot: int = 0  # the device's boot epoch; 0 where nothing boots (a recording that is read offline)


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that failed its proof, or was malformed; it changed nothing but the story."""

    device: str
    reason: str  # short code: forged, replayed, malformed, unknown-session, ...
    detail: str  # one sentence for humans: expected, got, consequence
    t_ms: int


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a device answered to a command, by its own proof; or why there is nothing to believe (`doubt`)."""

    device: str
    name: str
    payload: dict[str, object]
    status: int  # 200 obeyed; not proven: 404 the device is not connected, 504 no answer
    t_ms: int
    doubt: str = ""  # "": proven; "unproven": something came that the device did not say; "unanswered": nothing came
    who: str = ""  # who asked


@dataclass(frozen=True, slots=True)
class Assigned:
    """From `t_ms` on, the device's readings belong to this patient."""

    device: str
    patient: str
    t_ms: int


@dataclass(frozen=True, slots=True)
class Released:
    """From `t_ms` on, the device speaks for this patient no more."""

    device: str
    t_ms: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the fold must know of the patient's record. `limits`: of every signal that has any."""

    limits: Mapping[str, Limits]
    t_ms: int


@dataclass(frozen=True, slots=True)
class Acted:
    """A person did something with this twin's alarms: kind ``ack``, ``pause`` or ``resume``."""

    kind: str
    body: Mapping[str, Any]
    who: str
    t_ms: int


@dataclass(frozen=True, slots=True)
class Tick:
    """The engine's clock: the only way in which time passes for the fold."""

    t_us: int


@dataclass(frozen=True, slots=True)
class SetBack:
    """The engine's clock was ahead by `step_ms`, and is right now: the only way in which time goes back."""

    t_ms: int
    step_ms: int


BEHIND_MS = 10_000  # what a clock that is slewed is never behind; while it is less, a twin's time stands still


def set_back_ms(now_ms: int, reached_ms: int) -> int:
    """By how much the clock was ahead, where it lies clearly behind what was reached by it; else 0.

    Then the twins begin anew (:mod:`twin_engine.setback`): whether at the step itself or at the next start.
    """
    behind_ms = reached_ms - now_ms
    return behind_ms if behind_ms > BEHIND_MS else 0


Message = Readings | Refused | CommandResult | Assigned | Released | Recorded | Acted | Tick | SetBack


# -------------------------------------------------------------------------------------------- out of the fold


@dataclass(frozen=True, slots=True)
class Samples:
    """Consecutive samples of one channel at its own rate. Arrays are (N,)."""

    channel: str
    times_us: Times
    values: Floats  # NaN = withheld
    lower: Floats  # central 90 %
    upper: Floats
    confidence: Floats  # 0..1
    provenance: Bytes  # Provenance, | REVISED
    method: str = ""  # what made synthesised values: "lstm-vae", "locf", ...

    def __len__(self) -> int:
        return len(self.times_us)


@dataclass(frozen=True, slots=True)
class Event:
    """A line in the story of a twin, for the page and the record."""

    t_ms: int
    kind: str  # gap-opened, refused, ...: :data:`twin_engine.told.SENTENCES` has a row for each, ``event.<kind>``
    severity: str  # info, warning, alarm
    text: str
    channel: str = ""
    who: str = ""  # the person who did it, "" for the twin itself
    facts: Mapping[str, str] = field(default_factory=dict)  # what the text says, for pages in other languages


@dataclass(frozen=True, slots=True)
class Output:
    """All that one message made."""

    samples: tuple[Samples, ...] = ()
    revisions: tuple[Samples, ...] = ()
    events: tuple[Event, ...] = ()


# --------------------------------------------------------------------------------------------- to the browser


class FrameKind(IntEnum):
    """First byte of what a browser receives."""

    LIVE = 0
    SNAPSHOT = 1
    REVISION = 2  # replaces in the view, never in the record


WIRE_VERSION = 1
_HEAD = struct.Struct("<BBHd")  # kind, version, number of blocks, engine clock (Unix s)
MAX_BLOCKS = 0xFFFF  # of one message; the head counts them in 16 bits
_BLOCK = struct.Struct("<dfI")  # time of the first sample (Unix s), period (s), number of samples
SAMPLE = np.dtype(
    [("value", "<f4"), ("lower", "<f4"), ("upper", "<f4"), ("confidence", "u1"), ("provenance", "u1")]
)  # packed, 14 bytes


@dataclass(frozen=True, slots=True)
class Packed:
    """Samples of one channel as the wire has them: a third of the memory of :class:`Samples`."""

    channel: str
    times_us: Times  # (N,)
    data: npt.NDArray[np.void]  # (N,) of SAMPLE

    def __len__(self) -> int:
        return len(self.times_us)

    def samples(self) -> Samples:
        """The same in float64, with confidence 0..1."""
        p = self.data
        value, lower, upper = (p[k].astype(np.float64) for k in ("value", "lower", "upper"))
        return Samples(
            self.channel, self.times_us, value, lower, upper, p["confidence"] / 255.0, p["provenance"].copy()
        )


def encode_wire(kind: FrameKind, clock_s: float, samples: Iterable[Samples]) -> bytes:
    """One binary message for a browser. Samples at uneven times become several blocks.

    Raises ValueError where they are more than one message holds; :func:`encode_wires` makes several.
    """
    parts = encode_wires(kind, clock_s, samples)
    if len(parts) > 1:
        raise ValueError(f"expected at most {MAX_BLOCKS} runs of even samples, got more; the message was not made")
    return parts[0]


def encode_wires(kind: FrameKind, clock_s: float, samples: Iterable[Samples]) -> list[bytes]:
    """The same as as many messages as it takes, one at least: each holds MAX_BLOCKS, and no sample is left out."""
    blocks = [block for s in samples for block in _wire_blocks(s)]
    parts = [blocks[at : at + MAX_BLOCKS] for at in range(0, len(blocks), MAX_BLOCKS)] or [[]]
    return [_HEAD.pack(kind, WIRE_VERSION, len(part), clock_s) + b"".join(part) for part in parts]


def decode_wire(data: bytes) -> tuple[FrameKind, float, list[Samples]]:
    """The inverse of :func:`encode_wire` (float32 values, 1/255 confidence). Raises ValueError on other bytes."""
    kind, clock_s, blocks = read_wire(data)
    return kind, clock_s, [block.samples() for block in blocks]


def read_wire(data: bytes) -> tuple[FrameKind, float, list[Packed]]:
    """The blocks of a wire message as they are packed. Raises ValueError on other bytes."""
    try:
        kind, version, count, clock_s = _HEAD.unpack_from(data)
        if version != WIRE_VERSION:
            raise ValueError(f"expected wire version {WIRE_VERSION}, got {version}; the message was dropped")
        out, at = [], _HEAD.size
        for _ in range(count):
            block, at = _read_block(data, at)
            out.append(block)
    except struct.error as error:
        raise ValueError(f"expected a whole wire message, got {len(data)} bytes; it was dropped") from error
    return FrameKind(kind), clock_s, out


def _wire_blocks(s: Samples) -> Iterable[bytes]:
    """Runs of evenly spaced samples, each as one block. A step may deviate by 5 % (clocks count whole ms)."""
    if not len(s):
        return
    steps = np.diff(s.times_us)
    period = float(np.median(steps)) if len(steps) else 0.0
    breaks = np.flatnonzero(np.abs(steps - period) > np.maximum(0.05 * period, 1000)) + 1
    packed = np.empty(len(s), SAMPLE)
    packed["value"], packed["lower"], packed["upper"] = s.values, s.lower, s.upper
    packed["confidence"] = np.round(np.nan_to_num(s.confidence) * 255)
    packed["provenance"] = s.provenance
    name = s.channel.encode()
    for run_t, run in zip(np.split(s.times_us, breaks), np.split(packed, breaks), strict=True):
        mean = (run_t[-1] - run_t[0]) / (len(run_t) - 1) if len(run_t) > 1 else period  # no drift along a long run
        head = struct.pack("<B", len(name)) + name + _BLOCK.pack(run_t[0] / 1e6, mean / 1e6, len(run))
        yield head + run.tobytes()


def _read_block(data: bytes, at: int) -> tuple[Packed, int]:
    size = data[at] if at < len(data) else 0
    name = data[at + 1 : at + 1 + size].decode()
    t0_s, period_s, n = _BLOCK.unpack_from(data, at + 1 + size)
    start = at + 1 + size + _BLOCK.size
    end = start + n * SAMPLE.itemsize
    if end > len(data):
        raise ValueError(f"expected {n} samples of {name}, got {len(data) - start} bytes; the message was dropped")
    times = np.rint((t0_s + np.arange(n) * period_s) * 1e6).astype(np.int64)
    return Packed(name, times, np.frombuffer(data, SAMPLE, n, start)), end
