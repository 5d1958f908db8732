"""The generative core: given what a channel did until its last reading, the distribution of what it does next.

:class:`Generator` loads the packaged weights, checks them and forecasts batches of contexts. A signal with weights is
forecast by several experts: the conditional LSTM-VAE (``network``) first, then the cheap methods that it mixes
(``baselines``), each with bounds of its own, and the weights that were best for people held out from training. A
signal without weights has one expert, the simple method. Forecasts are causal and deterministic. Which experts serve
one person best is learnt elsewhere (``personal``), and so is how far to trust them (``calibrate``), beginning from
:meth:`Generator.prior_scores`; what may be shown is decided elsewhere, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from security.signing import Signers
from twin_engine.baselines import stack
from twin_engine.features import CONTEXT_STEPS, SLOTS, Population, Prepared, prepare, slot_series
from twin_engine.mend import Hole, Mended, Mender
from twin_engine.messages import Floats
from twin_engine.plans import PLANS, Plan, node_ages_s, node_steps
from twin_engine.simple import laplace, simple, simple_weights
from twin_engine.surprise import reconstruction
from twin_engine.trained import Trained, load_menders, load_signals
from twin_engine.wave_mix import mend_wave
from twin_engine.weightfile import WEIGHTS, ModelError, files_of, read_metadata

if TYPE_CHECKING:
    from twin_engine.network import LstmVae

__all__ = ["BOUNDS", "LEVELS", "METHOD", "Context", "Forecast", "Generator", "ModelError"]

LEVELS: tuple[float, ...] = (0.01, 0.05, 0.1, 0.15, 0.25, 0.35, 0.5, 0.65, 0.75, 0.85, 0.9, 0.95, 0.99)
METHOD = "lstm-vae"
SCORE_LEVELS = np.linspace(0.0025, 0.9975, 200)  # of the held-out people's residuals, kept at each age
BOUNDS = (0.05, 0.5, 0.95)  # levels that an expert states
_BOUNDS_AT = [LEVELS.index(level) for level in BOUNDS]
_LATENTS = 32  # samples of z a context, half of them the mirror image of the other half
_RATTLES = 8  # evenly spaced quantiles of the noise around each


@dataclass(frozen=True)
class Context:
    """All that may be known when a channel falls silent. Arrays are (T,), oldest first, NaN where missing.

    The last entry is the time of the last reading; ``features.to_grid`` makes such arrays. T may differ from
    :meth:`Generator.context_steps`: what is older is ignored, what is absent counts as missing.
    """

    signal: str  # a key of device.signals.SIGNALS
    values: Floats  # the channel on the signal's model grid, signal's unit
    others: dict[str, Floats]  # channel id -> the device's other channels on the same grid and times
    seed: int  # the same seed gives the same forecast


@dataclass(frozen=True)
class Forecast:
    """What the sensor would report at N ages of the gap, as E experts see it. NaN throughout if nothing was known."""

    ages_s: Floats  # (N,) > 0, increasing, up to the signal's horizon
    experts: tuple[str, ...]  # (E,) the LSTM-VAE first, where the signal has weights
    bounds: Floats  # (E, N, 3) each expert's values at the levels BOUNDS, signal's unit
    quantiles: Floats  # (N, len(LEVELS)) the first expert's own, signal's unit, non-decreasing along axis 1

    def at(self, ages_s: Floats) -> Floats:
        """The first expert's quantiles (len(ages_s), len(LEVELS)) at any ages: linear in the logarithm of age."""
        log_ages = np.log(np.maximum(ages_s, self.ages_s[0]))
        nodes = np.log(self.ages_s)
        return np.stack([np.interp(log_ages, nodes, column) for column in self.quantiles.T], axis=-1)


@dataclass(frozen=True)
class Generator:
    """Forecasts every signal of the table. Make one with :meth:`load`; it may be shared by threads."""

    population: Population
    metadata: dict[str, Any] = field(repr=False)
    _trained: dict[str, Trained] = field(repr=False)
    _menders: dict[str, Mender] = field(default_factory=dict, repr=False)
    _rows: dict[tuple[str, str, bytes], Floats] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, path: Path | None = None, threads: int = 1, signers: Signers | None = None) -> Generator:
        """The generator in the folder `path` (the packaged one by default), with torch on `threads` cores.

        `signers` are believed (the package's where None). Raises ModelError where a file is missing, was signed by
        nobody of them, does not have the hash in the metadata, or has another layout.
        """
        import torch

        torch.set_num_threads(threads)
        folder = path or WEIGHTS
        metadata = read_metadata(folder, signers)
        trained, menders = load_signals(folder, metadata), load_menders(folder, metadata)
        return cls(Population(**metadata["population"]), metadata, trained, menders)

    @cached_property
    def version(self) -> str:
        """Which weights these are: 12 hex digits of a hash over the hashes of all of them."""
        hashes = sorted(files_of(self.metadata).values())
        return hashlib.sha256("".join(hashes).encode()).hexdigest()[:12]

    def grid_s(self, signal: str) -> float:
        """Step of the signal's model grid in seconds."""
        return PLANS[signal].grid_s

    def context_steps(self, signal: str) -> int:
        """How many grid steps before the gap are looked at, at most."""
        return CONTEXT_STEPS if signal in PLANS else 0

    def horizon_s(self, signal: str) -> float:
        """Gap age in seconds beyond which nothing is forecast."""
        return PLANS[signal].horizon_s

    def forecast(self, contexts: Sequence[Context]) -> list[Forecast]:
        """One forecast for each context, in order. Contexts of one signal are computed together.

        Raises KeyError for a signal that is not in the table.
        """
        out: dict[int, Forecast] = {}
        for signal, members in _by_signal(contexts).items():
            batch = [contexts[i] for i in members]
            made = self._generate(signal, batch) if signal in self._trained else [_simple(c) for c in batch]
            out.update(zip(members, made, strict=True))
        return [out[i] for i in range(len(contexts))]

    def mends(self, signal: str, gap_s: float) -> bool:
        """Whether a closed gap of that length can be filled from both sides: waves step by step, others as learnt."""
        grid_s = PLANS[signal].grid_s
        if gap_s <= grid_s:
            return False  # no whole step lies inside
        if signal in self._menders:
            return bool(gap_s <= self._menders[signal].cheap.lengths[-1] * grid_s)
        return gap_s <= PLANS[signal].horizon_s if PLANS[signal].dense_steps else False

    def mend(self, holes: Sequence[Hole]) -> list[Mended]:
        """One filling a hole, in order. The caller guarantees that :meth:`mends` says yes."""
        out: dict[int, Mended] = {}
        for signal, members in _by_signal(holes).items():
            batch = [holes[i] for i in members]
            mender = self._menders.get(signal)
            made = mender.mend(batch) if mender else [mend_wave(hole, PLANS[signal].grid_s) for hole in batch]
            out.update(zip(members, made, strict=True))
        return [out[i] for i in range(len(holes))]

    def reconstruct(self, contexts: Sequence[Context], truths: Sequence[Floats]) -> Floats:
        """(B,) log-probability, a known age, of what came after each context, by latents that have seen it.

        `truths` are (S,) what came at each grid step, signal's unit, NaN missing. NaN for signals without weights.
        An and Cho 2015, "Variational autoencoder based anomaly detection using reconstruction probability".
        """
        density = np.full(len(contexts), np.nan)
        for signal, members in _by_signal(contexts).items():
            if signal in self._trained:
                batch = [contexts[i] for i in members]
                truth = np.stack([_at_nodes(signal, truths[i]) for i in members])
                density[members] = self._reconstruct(signal, batch, truth)
        return density

    def _reconstruct(self, signal: str, batch: Sequence[Context], truth: Floats) -> Floats:
        trained, prepared, plan = self._trained[signal], self.prepared(batch), PLANS[signal]
        normal = (plan.forward(truth) - prepared.last[:, None]) / prepared.scale[:, None]
        known = np.isfinite(normal).astype(np.float64)
        bases = stack(plan, prepared, trained.ridge)
        return reconstruction(trained.network, prepared, bases, normal, known, [context.seed for context in batch])

    def prior_scores(self, signal: str, ages_s: Floats) -> Floats:
        """(len(ages_s), M) sorted residuals of people held out from training, by ``calibrate.score``.

        Where nothing was trained they are those of a Laplace distribution whose 90 % interval is right.
        """
        return self._kept("scores", signal, ages_s)

    def network(self, signal: str) -> LstmVae:
        """The network of a trained signal. Raises KeyError for another."""
        return self._trained[signal].network

    def population_weights(self, signal: str, ages_s: Floats) -> Floats:
        """(len(ages_s), E) weights of a signal's experts that served people held out from training best."""
        return self._kept("weights", signal, ages_s)

    def _kept(self, what: str, signal: str, ages_s: Floats) -> Floats:
        """Rows of a trained signal at these ages, or the simple method's; read-only, worked out once."""
        key = (what, signal, ages_s.tobytes())
        if key not in self._rows:
            trained = self._trained.get(signal)
            simple_row = laplace(SCORE_LEVELS) if what == "scores" else simple_weights(signal)
            rows = np.tile(simple_row, (len(ages_s), 1))
            if trained is not None:
                rows = _at_ages(signal, getattr(trained, what), ages_s)
            rows.setflags(write=False)
            self._rows[key] = rows
        return self._rows[key]

    def baselines(self, contexts: Sequence[Context]) -> tuple[tuple[str, ...], Floats]:
        """Names, and quantiles (B, N, C, len(LEVELS)), of the cheap forecasts of one trained signal."""
        signal = contexts[0].signal
        trained, prepared = self._trained[signal], self.prepared(contexts)
        bases = stack(PLANS[signal], prepared, trained.ridge)
        return PLANS[signal].bases, dressed(PLANS[signal], prepared, bases, trained.dress)

    def _generate(self, signal: str, batch: Sequence[Context]) -> list[Forecast]:
        trained, prepared, plan = self._trained[signal], self.prepared(batch), PLANS[signal]
        bases = stack(plan, prepared, trained.ridge)
        seeds = [context.seed for context in batch]
        quantiles = predict(plan, trained.network, prepared, bases, seeds)
        bounds = experts_of(plan, prepared, quantiles, bases, trained.dress)  # (B, E, N, 3)
        unknown = ~np.isfinite(prepared.path).any(1)
        quantiles[unknown], bounds[unknown] = np.nan, np.nan
        ages_s, names = node_ages_s(signal), (METHOD, *plan.bases)
        return [Forecast(ages_s, names, b, q) for b, q in zip(bounds, quantiles, strict=True)]

    def prepared(self, batch: Sequence[Context]) -> Prepared:
        """Contexts of one signal, normalised."""
        values = np.stack([_fit(context.values) for context in batch])
        series = [{name: _fit(v) for name, v in context.others.items()} for context in batch]
        others = {slot: _gather(slot, series) for slot in SLOTS}
        present = {slot: v for slot, v in others.items() if np.isfinite(v).any()}
        return prepare(PLANS[batch[0].signal], values, present, self.population)


def _by_signal(contexts: Sequence[Context | Hole]) -> dict[str, list[int]]:
    """Signal -> which contexts (or holes) are of it."""
    groups: dict[str, list[int]] = {}
    for index, context in enumerate(contexts):
        groups.setdefault(context.signal, []).append(index)
    return groups


def _at_nodes(signal: str, steps: Floats) -> Floats:
    """(N,) what `steps` (S,) hold at the signal's nodes; NaN beyond them."""
    nodes = node_steps(signal)
    out = np.full(len(nodes), np.nan)
    inside = nodes <= len(steps)
    out[inside] = steps[nodes[inside] - 1]
    return out


def _at_ages(signal: str, rows: Floats, ages_s: Floats) -> Floats:
    """(len(ages_s), M) rows (N, M), one a node of the signal, blended at other ages by the logarithm of age."""
    nodes, log_ages = np.log(node_ages_s(signal)), np.log(np.maximum(ages_s, PLANS[signal].grid_s))
    return np.stack([np.interp(log_ages, nodes, column) for column in rows.T], axis=-1)


def predict(plan: Plan, network: LstmVae, prepared: Prepared, bases: Floats, seeds: Sequence[int]) -> Floats:
    """The network's quantiles (B, N, len(LEVELS)), signal's unit; `bases` (B, N, C) normalised, one seed a context."""
    drawn = _sample(network, prepared, bases, seeds)  # (B, K·J, N)
    normal = np.quantile(drawn, LEVELS, axis=1).transpose(1, 2, 0)
    model_space = normal * prepared.scale[:, None, None] + prepared.last[:, None, None]
    quantiles: Floats = np.maximum.accumulate(plan.inverse(model_space), axis=-1)
    return quantiles


def dressed(plan: Plan, prepared: Prepared, bases: Floats, dress: Floats) -> Floats:
    """Quantiles (B, N, C, Q) of cheap forecasts `bases` (B, N, C), signal's unit.

    `dress` (N, C, Q) are held-out people's errors, in causal scales (``dress_unit``), with median 0.
    """
    spread = dress[None] / dress_unit(plan, prepared.scale)[:, None, None, None]
    normal = bases[..., None] + spread
    return plan.inverse(normal * prepared.scale[:, None, None, None] + prepared.last[:, None, None, None])


def dress_unit(plan: Plan, scale: Floats) -> Floats:
    """What the cheap methods' errors are counted in, as multiples of `scale` (B,): the better choice for them.

    One causal scale, but for a signal in logarithms the logarithm's own unit, where their errors vary less.
    """
    return np.ones_like(scale) if plan.log_offset is None else scale


def experts_of(plan: Plan, prepared: Prepared, quantiles: Floats, bases: Floats, dress: Floats) -> Floats:
    """(B, E, N, 3) the bounds of the network, whose quantiles are given, and of every cheap forecast."""
    cheap = dressed(plan, prepared, bases, dress[..., _BOUNDS_AT])  # (B, N, C, 3)
    own = quantiles[:, None, :, _BOUNDS_AT]
    return np.concatenate([own, cheap.transpose(0, 2, 1, 3)], axis=1)


def _sample(network: LstmVae, prepared: Prepared, bases: Floats, seeds: Sequence[int]) -> Floats:
    """(B, K·J, N) values drawn from the prior: K latents a context by its seed, J fixed quantiles around each."""
    import torch

    from twin_engine.network import LATENT

    half = np.stack([np.random.default_rng(seed).standard_normal((_LATENTS // 2, LATENT)) for seed in seeds])
    noise = torch.tensor(np.concatenate([half, -half], axis=1), dtype=torch.float32)
    steps = torch.tensor(laplace((np.arange(_RATTLES) + 0.5) / _RATTLES) * np.log(10.0), dtype=torch.float32)
    with torch.inference_mode():
        context = network.encode(torch.from_numpy(prepared.bins), torch.from_numpy(prepared.statics))
        mean, log_var = network.prior_of(context)
        z = mean[:, None] + torch.exp(0.5 * log_var)[:, None] * noise
        centre, scale = network.decode(context, z, torch.tensor(bases, dtype=torch.float32))  # (B, K, N)
        drawn = centre[:, :, None] + scale[:, :, None] * steps[:, None]  # (B, K, J, N)
    out: Floats = drawn.flatten(1, 2).numpy().astype(np.float64)
    return out


def _fit(series: Floats) -> Floats:
    """(CONTEXT_STEPS,) the newest part of `series`, with missing readings before it where it is shorter."""
    series = np.asarray(series, np.float64)[-CONTEXT_STEPS:]
    return np.concatenate([np.full(CONTEXT_STEPS - len(series), np.nan), series])


def _gather(slot: str, series: Sequence[dict[str, Floats]]) -> Floats:
    missing = np.full(CONTEXT_STEPS, np.nan)
    rows = [slot_series(slot, channels) for channels in series]
    return np.stack([missing if row is None else row for row in rows])


def _simple(context: Context) -> Forecast:
    ages_s = node_ages_s(context.signal)
    values = _fit(context.values)
    if not np.isfinite(values).any():
        count = len(simple_weights(context.signal))
        unknown = np.full((count, len(ages_s), len(LEVELS)), np.nan)
        return Forecast(ages_s, ("none",) * count, unknown[..., _BOUNDS_AT], unknown[0])
    names, quantiles = simple(context.signal, values, np.array(LEVELS))
    return Forecast(ages_s, names, quantiles[..., _BOUNDS_AT], quantiles[0])
