"""What a closed gap was really like, seen from both sides: the learned revision.

``Mender.restore(signal, tensors).mend(holes)`` gives a centre and an interval at places inside each gap. An LSTM-VAE
(:mod:`twin_engine.mend_network`) mixes and corrects cheap fillings (:mod:`twin_engine.mend_bases`); its interval is
made to hold on people outside training; and where these people say that a cheap filling is as good, that one is shown
and named. Nothing here keeps state or reads a file; what is longer than the longest gap in training the caller must
withhold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twin_engine.mend_bases import (
    AFTER_CLASSES,
    AFTER_STEPS,
    BASES,
    BEFORE_STEPS,
    FACTS,
    FEATURES,
    KNOTS,
    Cheap,
    Seen,
    look,
)
from twin_engine.messages import Floats
from twin_engine.plans import PLANS, Floats32, Ints

if TYPE_CHECKING:  # importing torch takes seconds
    from twin_engine.mend_network import MendVae

METHOD = "lstm-vae-mend"
LEVELS = np.arange(1, 20) / 20  # of the quantiles that are looked at; the outermost bound the shown interval
_MIDDLE = len(LEVELS) // 2
_LATENTS, _RATTLES = 12, 11  # samples of the latent, and quantiles of the noise around each
_PARTS = ("lengths", "unit", "hard", "ridge", "typical")
SITUATIONS = 4
_SMOOTH = 0.45  # smoother signals have a situation of their own, see ``Seen.smooth``
_EDGES = (0.12, 0.3)  # relative distances to the nearer end that part the conformal factors


class HoleError(ValueError):
    """A hole is not one, or the tensors are not a mender's; nothing was filled."""


@dataclass(frozen=True, slots=True)
class Hole:
    """A gap that has closed. Both sides lie on the signal's grid, in its unit, NaN where a reading is missing."""

    signal: str
    before: Floats  # (T,) up to the last reading before the gap, T >= 1
    after: Floats  # (R,) from the first reading after the gap on, R >= 1
    steps: float  # from the last reading before to the first one after, in grid steps, > 1
    seed: int


@dataclass(frozen=True, slots=True)
class Mended:
    """A filled gap at P places. `below` and `above` (>= 0) are the distances to the 5 % and the 95 % level."""

    ages_s: Floats  # (P,) from the last reading on, increasing, strictly inside the gap
    centre: Floats  # (P,) signal's unit
    below: Floats
    above: Floats
    method: str
    ends: tuple[float, float]  # the readings around the gap, signal's unit
    length_s: float  # from one to the other

    def at(self, ages_s: Floats) -> tuple[Floats, Floats, Floats]:
        """Centre, below and above at `ages_s` (n,), linear between the places; the readings themselves at the ends."""
        x = np.concatenate(([0.0], self.ages_s, [self.length_s]))
        columns = ((self.ends[0], self.centre, self.ends[1]), (0.0, self.below, 0.0), (0.0, self.above, 0.0))
        centre, below, above = (np.interp(ages_s, x, np.concatenate(([a], y, [b]))) for a, y, b in columns)
        return centre, below, above


@dataclass(frozen=True, slots=True)
class Judgement:
    """What people outside training say. G lengths as in ``Cheap.lengths``, S situations."""

    dress: Floats  # (S, len(BASES), G, len(LEVELS)) errors of each cheap filling at the levels, in units
    conformal: Floats  # (S, G, len(_EDGES) + 1, 2) factors on the network's distances below and above
    gate: Ints  # (S, G) the best cheap filling: an index of BASES
    share: Floats  # (S, G) 0 … 1 of the network in what is shown; the rest is that filling's


class Mender:
    """Fills closed gaps of one signal."""

    def __init__(self, signal: str, cheap: Cheap, network: MendVae, judgement: Judgement) -> None:
        self.signal, self.cheap, self.network, self.judgement = signal, cheap, network.eval(), judgement

    @classmethod
    def restore(cls, signal: str, tensors: dict[str, np.ndarray]) -> Mender:
        """The mender that gave these :meth:`tensors`. HoleError where something is missing or has another shape."""
        import torch

        from twin_engine.mend_network import MendVae

        network = MendVae()
        try:
            part = {name: tensors[f"cheap.{name}"].astype(np.float64) for name in _PARTS}
            cheap = Cheap(**part, recall=float(tensors["cheap.recall"][0]))
            dress, conformal, share = (
                tensors[f"judgement.{name}"].astype(np.float64) for name in ("dress", "conformal", "share")
            )
            judgement = Judgement(dress, conformal, np.round(tensors["judgement.gate"]).astype(np.int64), share)
            _check_shapes(cheap, judgement)
            weights = {n.removeprefix("network."): v for n, v in tensors.items() if n.startswith("network.")}
            network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
        except (KeyError, RuntimeError, ValueError) as error:
            raise HoleError(f"expected a mender's tensors for {signal}, got {error}; not restored") from error
        return cls(signal, cheap, network, judgement)

    def tensors(self) -> dict[str, Floats32]:
        """Everything that :meth:`restore` needs."""
        out = {f"network.{name}": value.numpy() for name, value in self.network.state_dict().items()}
        out |= {f"cheap.{name}": getattr(self.cheap, name) for name in _PARTS}
        out["cheap.recall"] = np.array([self.cheap.recall])
        out |= {f"judgement.{name}": getattr(self.judgement, name) for name in ("dress", "conformal", "gate", "share")}
        return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in out.items()}

    def mend(self, holes: Sequence[Hole]) -> list[Mended]:
        """One filling a hole. HoleError for a hole of another signal, without a reading at its ends or too short."""
        if not holes:
            return []
        seen = self.look(holes)
        fillings, unit = self.cheap.fill(seen)
        gate, share = self.shown(seen)
        levels = np.empty((*unit.shape, len(LEVELS)))
        for base in np.unique(gate):
            rows = np.flatnonzero(gate == base)
            levels[rows] = self.dressed(seen.rows(rows), fillings[rows], unit[rows], int(base))
        if (rows := np.flatnonzero(share > 0)).size:
            seeds = [holes[int(i)].seed for i in rows]
            learned = self.learned(seen.rows(rows), fillings[rows], unit[rows], seeds)
            levels[rows] += share[rows, None, None] * (learned - levels[rows])
        values = self.in_unit(seen, levels)
        return [
            self._mended(hole, seen, values[i], i, METHOD if share[i] > 0 else BASES[gate[i]])
            for i, hole in enumerate(holes)
        ]

    def look(self, holes: Sequence[Hole]) -> Seen:
        """The holes as the fillings see them."""
        before, after = np.full((len(holes), BEFORE_STEPS), np.nan), np.full((len(holes), AFTER_STEPS), np.nan)
        for i, hole in enumerate(holes):
            _check(hole, self.signal)
            head, tail = hole.before[-BEFORE_STEPS:], hole.after[:AFTER_STEPS]
            before[i, BEFORE_STEPS - len(head) :], after[i, : len(tail)] = head, tail
        plan, steps = PLANS[self.signal], np.array([hole.steps for hole in holes], np.float64)
        return look(plan.forward(before), plan.forward(after), steps, self.cheap.typical)

    def learned(
        self, seen: Seen, fillings: Floats32, unit: Floats32, seeds: Sequence[int], raw: bool = False
    ) -> Floats:
        """(B, P, len(LEVELS)) residuals of the network at the levels, in scales, conformal unless `raw`."""
        import torch

        from twin_engine.mend_network import LATENT, inputs

        noise = np.stack([np.random.default_rng(seed).standard_normal((_LATENTS, LATENT)) for seed in seeds])
        told = inputs(seen, self.cheap)
        with torch.inference_mode():
            before, after, statics, place = (torch.from_numpy(array) for array in told)
            context = self.network.encode(before, after, statics)
            mean, log_var = self.network.prior_of(context)
            z = mean[:, None] + torch.exp(0.5 * log_var)[:, None] * torch.from_numpy(noise.astype(np.float32))
            bases = torch.from_numpy(fillings / unit[..., None])
            centre, scale = (part.numpy() for part in self.network.decode(context, z, place, bases))
        even = (np.arange(_RATTLES) + 0.5) / _RATTLES - 0.5
        rattle = (-np.sign(even) * np.log1p(-2 * np.abs(even))).astype(np.float32)
        paths = (centre[..., None] + scale[..., None] * rattle).transpose(0, 2, 1, 3).reshape(*unit.shape, -1)
        levels = _quantiles(paths) * unit[..., None]
        return levels if raw else self._conformal(seen, levels)

    def dressed(self, seen: Seen, fillings: Floats32, unit: Floats32, base: int) -> Floats:
        """(B, P, len(LEVELS)) residuals of one cheap filling with its errors on people outside its training."""
        low, high, part = self.cheap.between(seen.steps)
        table, at = self.judgement.dress[:, base], situation(seen)
        errors = table[at, low] * (1 - part) + table[at, high] * part
        out: Floats = fillings[..., base, None] + unit[..., None] * errors[:, None]
        return out

    def in_unit(self, seen: Seen, levels: Floats) -> Floats:
        """Residuals (B, P, …) in scales as values in the signal's unit."""
        return PLANS[self.signal].inverse(seen.value(levels))

    def _conformal(self, seen: Seen, levels: Floats) -> Floats:
        middle = levels[..., _MIDDLE, None]
        low, high, part = self.cheap.between(seen.steps)
        table, at, share = self.judgement.conformal, situation(seen), part[..., None]
        factors = table[at, low] * (1 - share) + table[at, high] * share
        factor = np.take_along_axis(factors, edge_class(seen)[..., None], axis=1)  # (B, P, 2)
        away = levels - middle
        out: Floats = middle + away * np.where(away < 0, factor[..., :1], factor[..., 1:])
        return out

    def shown(self, seen: Seen) -> tuple[Ints, Floats]:
        """(B,) the cheap filling in what is shown, and the network's share, 0 to 1: quantiles are averaged."""
        low, high, part = self.cheap.between(seen.steps)
        length, kind = np.where(part[:, 0] < 0.5, low, high), situation(seen)
        return self.judgement.gate[kind, length], self.judgement.share[kind, length]

    def _mended(self, hole: Hole, seen: Seen, values: Floats, i: int, method: str) -> Mended:
        grid_s, real = PLANS[self.signal].grid_s, seen.real[i] > 0
        low, middle, high = values[real, 0], values[real, _MIDDLE], values[real, -1]
        return Mended(
            seen.at[i, real] * grid_s,
            middle,
            np.maximum(middle - low, 0.0),
            np.maximum(high - middle, 0.0),
            method,
            (float(hole.before[-1]), float(hole.after[0])),
            hole.steps * grid_s,
        )


def situation(seen: Seen) -> Ints:
    """(B,) which row of a judgement speaks: + 1 for smooth signals, + 2 where more than a reading or two came after."""
    return (seen.smooth() > _SMOOTH).astype(np.int64) + 2 * (seen.reach >= AFTER_CLASSES[1])


def edge_class(seen: Seen) -> Ints:
    """(B, P) how far inside the gap a place lies: an index of the conformal factors."""
    u = seen.at / seen.steps[:, None]
    return np.searchsorted(_EDGES, np.minimum(u, 1 - u))


def _check_shapes(cheap: Cheap, judgement: Judgement) -> None:
    """Raises ValueError where arrays don't fit each other and this program."""
    g, k = cheap.unit.shape
    pairs = (
        (cheap.lengths, (g,)),
        (cheap.hard, (g, FACTS)),
        (cheap.ridge, (len(AFTER_CLASSES), g, k, FEATURES)),
        (judgement.dress, (SITUATIONS, len(BASES), g, len(LEVELS))),
        (judgement.conformal, (SITUATIONS, g, len(_EDGES) + 1, 2)),
        (judgement.gate, (SITUATIONS, g)),
        (judgement.share, (SITUATIONS, g)),
    )
    known = bool(((judgement.gate >= 0) & (judgement.gate < len(BASES))).all())
    if k != KNOTS or not known or any(array.shape != shape for array, shape in pairs):
        raise ValueError(f"arrays of other shapes ({', '.join(str(array.shape) for array, _ in pairs)})")


def _quantiles(samples: Floats) -> Floats:
    """Quantiles (…, len(LEVELS)) of `samples` (…, n)."""
    ordered = np.sort(samples, axis=-1)
    where = LEVELS * ordered.shape[-1] - 0.5
    low = np.clip(np.floor(where).astype(np.int64), 0, ordered.shape[-1] - 2)
    part = where - low
    out: Floats = ordered[..., low] * (1 - part) + ordered[..., low + 1] * part
    return out


def _check(hole: Hole, signal: str) -> None:
    if hole.signal != signal:
        raise HoleError(f"expected a hole of {signal}, got one of {hole.signal}; nothing was filled")
    ends = [side[i] if len(side) else np.nan for side, i in ((hole.before, -1), (hole.after, 0))]
    if not np.isfinite(ends).all() or not 1 < hole.steps < np.inf:
        raise HoleError(
            f"expected readings around a gap of more than 1 step, got {ends} and {hole.steps} steps; nothing was filled"
        )
