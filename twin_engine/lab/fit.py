"""Fits the LSTM-VAE to examples: trained on what it will be asked for, paths sampled from its prior.

The loss is the CRPS of those paths at every age, two energy scores that ask whether the ages of a path hang
together, and a part of the evidence lower bound (the posterior's likelihood and its distance from the prior), which
keeps the latent meaningful. The best averaged weights on validation people win. Nothing here reads a file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from twin_engine.lab.descent import Pace, Progress, Recipe, begin, descend
from twin_engine.lab.examples import Examples
from twin_engine.network import LATENT, LATENT_PART, LstmVae, kl_divergence, laplace_nll, laplace_noise
from twin_engine.plans import PLANS, Floats32, node_steps

BATCH, PATHS = 64, 6
_PACE, _DECAY = Pace(1.5e-3, 200, lambda _: 0.01), 1e-2
_KL_WEIGHT, _ENERGY_WEIGHT, _STEP_WEIGHT, _FREE_NATS = 0.3, 0.5, 0.3, 0.02


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of B examples: what the network sees, and the truth (B, N) with `known` 0/1."""

    bins: Tensor
    statics: Tensor
    bases: Tensor
    truth: Tensor
    known: Tensor


def fit_network(
    signal: str,
    examples: tuple[Examples, Floats32],
    judged: tuple[Examples, Floats32],
    recipe: Recipe,
    progress: Progress,
    without: str = "",
) -> tuple[LstmVae, dict[str, float]]:
    """The network with the best validation CRPS within the recipe's steps, on the CPU, and its validation numbers."""
    torch.manual_seed(recipe.seed)
    data, check = (_tensors(*part, recipe.device) for part in (examples, judged))
    network = _ridge_like(signal, data, without).to(recipe.device)
    optimiser = torch.optim.AdamW(network.parameters(), _PACE.rate, weight_decay=_DECAY)
    state = begin(network, optimiser, recipe)

    def step(done: float) -> None:
        picked = torch.randint(0, len(data.truth), (BATCH,)).to(recipe.device)
        _step(network, optimiser, _take(data, picked), min(1.0, 3 * done))

    descend(state, recipe, _PACE, step, lambda: _judge(network, check), lambda done: progress(signal, done))
    return network.cpu().eval(), state.numbers


def _ridge_like(signal: str, data: Batch, without: str) -> LstmVae:
    """A fresh network that forecasts as ridge does."""
    ridge = PLANS[signal].bases.index("ridge")
    error = (data.truth - data.bases[..., ridge]).abs() * data.known
    scale = (error.sum(0) / data.known.sum(0).clamp(min=1)).cummax(0).values.clamp(min=1e-3)
    return LstmVae(torch.tensor(node_steps(signal)), scale.cpu(), data.bases.shape[-1], without)


def _step(network: LstmVae, optimiser: torch.optim.Optimizer, batch: Batch, warm: float) -> None:
    """One step on paths from the prior (CRPS, path energy) and on the evidence lower bound (posterior, KL)."""
    network.train()
    context = network.encode(batch.bins, batch.statics)
    prior = network.prior_of(context)
    noise = torch.randn(len(context), PATHS, LATENT, device=context.device)
    z = prior[0][:, None] + torch.exp(0.5 * prior[1])[:, None] * noise
    centre, scale = network.decode(context, z, batch.bases)
    paths = (centre + scale * laplace_noise(torch.rand_like(centre))) / network.horizon_scale
    truth = batch.truth / network.horizon_scale
    crps, energy, moves = path_scores(paths, truth, batch.known)
    loss = crps + _ENERGY_WEIGHT * energy + _STEP_WEIGHT * moves
    if network.without != LATENT_PART:
        posterior = network.posterior_of(context, batch.truth, batch.known)
        z = posterior[0] + torch.exp(0.5 * posterior[1]) * torch.randn_like(posterior[0])
        centre, scale = network.decode(context, z[:, None], batch.bases)
        nll = laplace_nll(batch.truth, centre[:, 0], scale[:, 0]) * batch.known
        kl = kl_divergence(posterior, prior).mean(0).clamp(min=_FREE_NATS).sum()
        loss = loss + _KL_WEIGHT * (nll.sum() / batch.known.sum() + warm * kl / batch.truth.shape[1])
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()


def path_scores(paths: Tensor, truth: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fair CRPS, energy score of the path, and energy score of its increments; means over the batch.

    `paths` (B, K, N), `truth` and `known` (B, N). Gneiting and Raftery 2007; all three are least for the truth's
    own distribution, and the last two also when its ages hang together as the truth's do.
    """
    truth = torch.where(known > 0, truth, 0.0)
    seen = paths * known[:, None]
    count = known.sum().clamp(min=1)
    ordered = paths.sort(1)[0]
    k = paths.shape[1]
    weights = (2 * torch.arange(1, k + 1, device=paths.device) - k - 1).float()[None, :, None]
    spread = (weights * ordered).sum(1) / (k * (k - 1))
    crps = (((paths - truth[:, None]).abs().mean(1) - spread) * known).sum() / count
    both = known[:, 1:] * known[:, :-1]
    energy = _energy(seen, truth * known, known)
    moves = _energy(seen.diff(dim=-1) * both[:, None], truth.diff(dim=-1) * both, both)
    return crps, energy, moves


def _energy(paths: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    size = known.sum(-1).clamp(min=1).sqrt()  # (B,)
    k = paths.shape[1]
    apart = torch.stack([_norm(paths[:, i] - paths[:, j]) for i in range(k) for j in range(i)]).mean(0)
    return ((_norm(paths - truth[:, None]).mean(1) - 0.5 * apart) / size).mean()


def _norm(x: Tensor) -> Tensor:
    return (x.pow(2).sum(-1) + 1e-6).sqrt()


@torch.no_grad()
def _judge(network: LstmVae, check: Batch) -> dict[str, float]:
    """Validation numbers in units of ridge's error at each age; the same noise each time."""
    noise = torch.Generator().manual_seed(0)
    count, ages = check.truth.shape
    latent = torch.randn((count, 12, LATENT), generator=noise).to(check.truth.device)
    rattle = laplace_noise(torch.rand((count, 12, ages), generator=noise)).to(check.truth.device)
    paths = network.paths(check.bins, check.statics, check.bases, latent, rattle) / network.horizon_scale
    truth = check.truth / network.horizon_scale
    crps, energy, moves = path_scores(paths, truth, check.known)
    context = network.encode(check.bins, check.statics)
    posterior = network.posterior_of(context, check.truth, check.known)
    kl = kl_divergence(posterior, network.prior_of(context)).sum(1).mean()
    return {"crps": float(crps), "path_energy": float(energy), "move_energy": float(moves), "kl_nats": float(kl)}


def _tensors(examples: Examples, bases: Floats32, device: str) -> Batch:
    known = np.isfinite(examples.truth)
    truth = np.where(known, examples.truth, 0.0).astype(np.float32)
    arrays = (examples.prepared.bins, examples.prepared.statics, bases, truth, known.astype(np.float32))
    return Batch(*(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays))


def _take(batch: Batch, rows: Tensor) -> Batch:
    return Batch(batch.bins[rows], batch.statics[rows], batch.bases[rows], batch.truth[rows], batch.known[rows])
