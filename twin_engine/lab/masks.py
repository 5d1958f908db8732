"""Where gaps are pretended: frozen places in every channel of every person, at random and where life would put them.

A :class:`Track` is one channel of one person on the signal's model grid. Gaps are pretended independently of each
other: the recording is whole but for this one. Places depend on the seed, the channel, the gap's length and the
content of the recording, and on nothing else; their hash says whether two evaluations asked the same questions.

*Random* places are drawn evenly. *Realistic* ones are drawn likelier where real sensors fall silent or lie: while the
wearer moves, while muscles burst, and where the channel itself jumps as it does in an artefact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from device.signals import SIGNALS, Kind
from twin_engine.lab.recordings import Recording
from twin_engine.messages import Floats
from twin_engine.plans import PLANS, Ints

GAPS_S: tuple[float, ...] = (1.0, 5.0, 10.0, 30.0, 60.0, 300.0)
KINDS: tuple[str, ...] = ("random", "realistic")
MIN_PLACES = 10  # a channel with fewer places for a gap is too short for it
_CONTEXT_S = 30.0  # no gap begins before so much is known (or a quarter of a short recording)
_MIN_READINGS = 16
_SPARSE_STEPS, _DENSE_STEPS = 300, 60  # at most so many moments of a gap are scored, evenly spaced
_SMOOTH_S = 2.0  # disturbance is averaged over so long
_QUIET_WEIGHT = 0.05  # a place without any disturbance is drawn this much as often as the most disturbed one


@dataclass(frozen=True, slots=True)
class Track:
    """One channel of one person on the signal's model grid. S grid steps; NaN where there is no reading."""

    person: str
    channel: str
    values: Floats  # (S,) signal's unit
    others: dict[str, Floats] = field(repr=False)  # the device's other channels (S,), same grid
    disturbance: Floats = field(repr=False)  # (S,) 0 (calm) to 1 (the most disturbed moments of this recording)
    key: str = ""  # hash of the recording's content: places follow it, not the file's name

    @property
    def signal(self) -> str:
        """Key of the table of signals."""
        return self.channel.partition(".")[0]

    @property
    def folder(self) -> str:
        """Where the recording lies: people of one folder share a device."""
        return self.person.rpartition("/")[0]

    @property
    def grid_s(self) -> float:
        """Length of a step."""
        return PLANS[self.signal].grid_s

    @property
    def sd(self) -> float:
        """Standard deviation over the whole recording: only to report errors in it, never to forecast."""
        return max(float(np.nanstd(self.values)), SIGNALS[self.signal].resolution / 2)

    @property
    def period_steps(self) -> int:
        """Median distance of readings, in grid steps."""
        return int(np.median(np.diff(np.flatnonzero(np.isfinite(self.values)))))


@dataclass(frozen=True, slots=True)
class Mask:
    """The pretended gaps of one length in one track, of one kind and seed."""

    track: Track
    gap_s: float
    kind: str  # one of KINDS
    seed: int
    starts: Ints  # (G,) grid step of the last reading before each gap, ascending
    steps: Ints  # (K,) scored steps after it, 1 … length

    @property
    def length(self) -> int:
        """Steps that are hidden."""
        return gap_steps(self.track.signal, self.gap_s)


_WAVE_S = 300.0  # of a wave is enough: every second holds a beat


def tracks(recording: Recording, signal: str) -> Iterator[Track]:
    """Every channel of `signal` in a recording that has enough readings."""
    names = [name for name in recording.channels if name.partition(".")[0] == signal]
    if not names:
        return
    grid_s = PLANS[signal].grid_s
    grid = recording.on_grid(grid_s)
    if SIGNALS[signal].kind is Kind.WAVE:
        grid = {name: values[: round(_WAVE_S / grid_s)] for name, values in grid.items()}
    key = hashlib.sha256("".join(sorted(recording.sha256.values())).encode()).hexdigest()
    part = recording.person.partition("#")[2]
    for name in names:
        if np.isfinite(grid[name]).sum() >= _MIN_READINGS:
            rest = {other: values for other, values in grid.items() if other != name}
            calm = disturbance(recording, grid, name, grid_s)
            yield Track(recording.person, name, grid[name], rest, calm, f"{key}#{part}")


def gap_steps(signal: str, gap_s: float) -> int:
    """Grid steps that a gap of this length hides."""
    return round(gap_s / PLANS[signal].grid_s)


def scored_steps(track: Track, gap_s: float) -> Ints:
    """(K,) which steps of a gap are scored: all of a short one, evenly spaced ones of a long one."""
    length = gap_steps(track.signal, gap_s)
    most = _DENSE_STEPS if track.period_steps == 1 else _SPARSE_STEPS
    steps: Ints = np.unique(np.round(np.linspace(1, length, min(length, most))).astype(np.int64))
    return steps


def places(track: Track, gap_s: float) -> Ints:
    """Every grid step after which a gap of this length may begin: a reading before it, in it, and after it."""
    length, known = gap_steps(track.signal, gap_s), np.isfinite(track.values)
    period = track.period_steps
    if length < max(1, period) or gap_s > PLANS[track.signal].horizon_s + 1e-9:
        return np.empty(0, np.int64)
    before = min(_CONTEXT_S, len(known) * track.grid_s / 4) / track.grid_s
    count = np.concatenate([[0], np.cumsum(known)])
    starts = np.flatnonzero(known)
    starts = starts[(starts >= before) & (starts + length < len(known))]
    hidden = count[starts + length + 1] - count[starts + 1]
    back = count[np.minimum(starts + length + 1 + 2 * period, len(known))] - count[starts + length + 1]
    fits: Ints = starts[(hidden >= max(1, length // (2 * period))) & (back > 0) & (count[starts] >= _MIN_READINGS // 2)]
    return fits


def draw(track: Track, gap_s: float, kind: str, seed: int, count: int) -> Mask | None:
    """`count` gaps (fewer where the track is short); None where it is too short for any."""
    fits = places(track, gap_s)
    if len(fits) < MIN_PLACES:
        return None
    name = hashlib.sha256(f"{track.key} {track.channel} {gap_s:g} {kind}".encode()).digest()
    rng = np.random.default_rng([seed, int.from_bytes(name[:8], "big")])
    weight = np.ones(len(fits))
    if kind == "realistic":
        weight = _QUIET_WEIGHT + (1 - _QUIET_WEIGHT) * track.disturbance[fits] ** 2
    picked = rng.choice(fits, min(count, len(fits)), replace=False, p=weight / weight.sum())
    return Mask(track, gap_s, kind, seed, np.sort(picked), scored_steps(track, gap_s))


def masks_sha256(masks: Sequence[Mask]) -> str:
    """Hash of who is tested, in which channel, and where the gaps begin: the same hash, the same questions."""
    digest = hashlib.sha256()
    for mask in masks:
        where = f"{mask.track.key} {mask.track.channel} {mask.gap_s:g} {mask.kind} {mask.seed}"
        digest.update(f"{where} {mask.starts.tolist()}\n".encode())
    return digest.hexdigest()


def disturbance(recording: Recording, grid: dict[str, Floats], channel: str, grid_s: float) -> Floats:
    """(S,) 0 to 1: how disturbed each moment is: the most of motion, muscles and the channel's own jumps."""
    steps = len(grid[channel])
    sources = [_smooth(_moves(grid[channel]), grid_s)]
    for name, values in grid.items():
        if name.partition(".")[0] == "acc_g":
            sources.append(_smooth(_moves(values), grid_s))
        elif name.partition(".")[0] == "emg_activity_mV" and name != channel:
            sources.append(_smooth(values, grid_s))
    for name, (times_s, values) in recording.labels.items():
        if name.startswith(("acc_", "gyro_")):
            shake = values if "_sd_" in name else np.abs(np.diff(values, prepend=values[:1]))
            at = np.minimum(np.ceil(times_s / grid_s - 1e-6).astype(np.int64), steps - 1)
            mean = np.bincount(at, shake, steps) / np.maximum(np.bincount(at, minlength=steps), 1)
            sources.append(_smooth(mean, grid_s))
    return np.asarray(np.max([_ranked(source) for source in sources], axis=0))


def _moves(values: Floats) -> Floats:
    """|change| to each reading from the one before; 0 where there is no reading."""
    out, known = np.zeros(len(values)), np.flatnonzero(np.isfinite(values))
    out[known[1:]] = np.abs(np.diff(values[known]))
    return out


def _smooth(values: Floats, grid_s: float) -> Floats:
    """Mean over the time around each step."""
    width = max(1, round(_SMOOTH_S / grid_s))
    return np.convolve(np.nan_to_num(values), np.ones(width) / width, "same")[: len(values)]


def _ranked(source: Floats) -> Floats:
    """0 to 1: a moment's rank among all; equal moments share the lowest, so that a calm channel stays calm."""
    return np.asarray(np.searchsorted(np.sort(source), source, side="left") / len(source))
