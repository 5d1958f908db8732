"""The generative core: given what a channel did until its last reading, the distribution of what it does next.

:class:`Generator` loads the packaged weights, checks their hashes and forecasts batches of contexts: signals with
weights by the conditional LSTM-VAE (``network``), the rest by the simple method (``baselines.simple``), and the
method's name says which. Forecasts are causal and deterministic. How far to trust them is learnt elsewhere
(``calibrate``), beginning from :meth:`Generator.prior_scores`; what may be shown is decided elsewhere, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.signals import SIGNALS
from twin_engine.baselines import NAMES, Ridge, stack
from twin_engine.features import CONTEXT_STEPS, SLOTS, Population, Prepared, prepare, slot_series
from twin_engine.messages import Floats
from twin_engine.plans import PLANS, node_ages_s, node_steps
from twin_engine.simple import laplace, simple
from twin_engine.weightfile import FORMAT, WEIGHTS, ModelError, Trained, read_metadata, read_signal

if TYPE_CHECKING:
    from twin_engine.network import LstmVae

__all__ = ["LEVELS", "METHOD", "Context", "Forecast", "Generator", "ModelError"]

LEVELS: tuple[float, ...] = (0.01, 0.05, 0.1, 0.15, 0.25, 0.35, 0.5, 0.65, 0.75, 0.85, 0.9, 0.95, 0.99)
METHOD = "lstm-vae"
SCORE_LEVELS = np.linspace(0.0025, 0.9975, 200)  # of the held-out people's residuals, kept at each age
_LOW, _MID, _HIGH = (LEVELS.index(level) for level in (0.05, 0.5, 0.95))
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
    """Quantiles of what the sensor would report, at N ages of the gap. NaN throughout where nothing was known."""

    ages_s: Floats  # (N,) > 0, increasing, up to the signal's horizon
    quantiles: Floats  # (N, len(LEVELS)) signal's unit, non-decreasing along axis 1
    method: str  # what made the centre at most ages: "lstm-vae", "ridge", "locf", "hold", ...
    methods: tuple[str, ...] = ()  # (N,) what made the centre at each age

    def at(self, ages_s: Floats) -> Floats:
        """Quantiles (len(ages_s), len(LEVELS)) at any ages: linear in the logarithm of age, constant outside."""
        log_ages = np.log(np.maximum(ages_s, self.ages_s[0]))
        nodes = np.log(self.ages_s)
        return np.stack([np.interp(log_ages, nodes, column) for column in self.quantiles.T], axis=-1)


@dataclass(frozen=True)
class Generator:
    """Forecasts every signal of the table. Make one with :meth:`load`; it may be shared by threads."""

    population: Population
    metadata: dict[str, Any] = field(repr=False)
    _trained: dict[str, Trained] = field(repr=False)

    @classmethod
    def load(cls, path: Path | None = None, threads: int = 1) -> Generator:
        """The generator in the folder `path` (the packaged one by default), with torch on `threads` cores.

        Raises ModelError where a file is missing, does not have the hash in the metadata, or has another layout.
        """
        import torch

        torch.set_num_threads(threads)
        folder = path or WEIGHTS
        metadata = read_metadata(folder)
        try:
            population = Population(**metadata["population"])
            trained = {signal: read_signal(folder, signal, entry) for signal, entry in metadata["signals"].items()}
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"expected weights of format {FORMAT} in {folder}, got {error!r}; retrain them") from error
        return cls(population, metadata, trained)

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
        groups: dict[str, list[int]] = {}
        for index, context in enumerate(contexts):
            groups.setdefault(context.signal, []).append(index)
        out: dict[int, Forecast] = {}
        for signal, members in groups.items():
            batch = [contexts[i] for i in members]
            made = self._generate(signal, batch) if signal in self._trained else [_simple(c) for c in batch]
            out.update(zip(members, made, strict=True))
        return [out[i] for i in range(len(contexts))]

    def prior_scores(self, signal: str, ages_s: Floats) -> Floats:
        """(len(ages_s), M) sorted residuals (truth - centre) / half width of people held out from training.

        Half width is (q0.95 - q0.05) / 2, at least half of the sensor's resolution. Where nothing was trained they
        are those of a Laplace distribution whose 90 % interval is right.
        """
        trained = self._trained.get(signal)
        if trained is None:
            return np.tile(laplace(SCORE_LEVELS), (len(ages_s), 1))
        nodes = np.log(node_ages_s(signal))
        log_ages = np.log(np.maximum(ages_s, self.grid_s(signal)))
        return np.stack([np.interp(log_ages, nodes, column) for column in trained.scores.T], axis=-1)

    def _generate(self, signal: str, batch: Sequence[Context]) -> list[Forecast]:
        trained, prepared = self._trained[signal], self.prepared(batch)
        bases = stack(prepared, node_steps(signal), trained.ridge)
        seeds = [context.seed for context in batch]
        quantiles = predict(signal, trained.network, trained.gate, prepared, bases, seeds)
        quantiles[~np.isfinite(prepared.path).any(1)] = np.nan
        ages_s = node_ages_s(signal)
        return [Forecast(ages_s, q, trained.method, trained.gate) for q in quantiles]

    def prepared(self, batch: Sequence[Context]) -> Prepared:
        """Contexts of one signal, normalised."""
        values = np.stack([_fit(context.values) for context in batch])
        series = [{name: _fit(v) for name, v in context.others.items()} for context in batch]
        others = {slot: _gather(slot, series) for slot in SLOTS}
        present = {slot: v for slot, v in others.items() if np.isfinite(v).any()}
        return prepare(PLANS[batch[0].signal], values, present, self.population)

    def ridge(self, signal: str) -> Ridge:
        """The ridge regression of a trained signal."""
        return self._trained[signal].ridge


def predict(
    signal: str, network: LstmVae, gate: Sequence[str], prepared: Prepared, bases: Floats, seeds: Sequence[int]
) -> Floats:
    """Quantiles (B, N, len(LEVELS)) in the signal's unit; `bases` (B, N, 4) normalised, one seed a context."""
    drawn = _sample(network, prepared, bases, seeds)  # (B, K·J, N)
    normal = gated(np.quantile(drawn, LEVELS, axis=1).transpose(1, 2, 0), bases, gate)
    model_space = normal * prepared.scale[:, None, None] + prepared.last[:, None, None]
    quantiles: Floats = np.maximum.accumulate(PLANS[signal].inverse(model_space), axis=-1)
    return quantiles


def normalised_residuals(signal: str, truth: Floats, quantiles: Floats) -> Floats:
    """(truth - centre) / half width for `truth` (...,) and `quantiles` (..., len(LEVELS)), signal's unit."""
    half = np.maximum((quantiles[..., _HIGH] - quantiles[..., _LOW]) / 2, resolution_floor(signal))
    residuals: Floats = (truth - quantiles[..., _MID]) / half
    return residuals


def resolution_floor(signal: str) -> float:
    """The least half width that a normalised residual is divided by: half of the sensor's step."""
    return SIGNALS[signal].resolution / 2


def gated(quantiles: Floats, bases: Floats, gate: Sequence[str]) -> Floats:
    """`quantiles` (B, N, Q) moved so that their centre is that of the method which `gate` (N,) names."""
    moved = quantiles.copy()
    for n, name in enumerate(gate):
        if name != METHOD:
            moved[:, n] += bases[:, n, NAMES.index(name), None] - quantiles[:, n, _MID, None]
    return moved


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
        return Forecast(ages_s, np.full((len(ages_s), len(LEVELS)), np.nan), "none")
    quantiles, method = simple(context.signal, values, np.array(LEVELS))
    return Forecast(ages_s, quantiles, method, (method,) * len(ages_s))
