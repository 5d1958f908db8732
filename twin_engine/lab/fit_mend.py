"""Fits the revision (:mod:`twin_engine.mend`): gaps are pretended in recordings and filled from both sides.

Order: cheap fillings (straight line's error, ridge a length, memory of the Ornstein-Uhlenbeck bridge) from the
learners; the network from the learners, a fixed number of steps, the best averaged weights on the judges; then the
judges' errors make the intervals hold and say where a cheap filling is as good. Nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from twin_engine.lab.descent import Pace, Progress, Recipe, begin, descend
from twin_engine.lab.fit import path_scores
from twin_engine.lab.judge_mend import JUDGE_DRAWS, judge
from twin_engine.lab.mend_examples import Drawn, Field, draw, field_of, pretend, reaches, sides
from twin_engine.lab.recordings import Recording
from twin_engine.mend import Mender
from twin_engine.mend_bases import (
    AFTER_CLASSES,
    AFTER_STEPS,
    BASES,
    FACTS,
    FEATURES,
    KNOTS,
    ROUGH_STEPS,
    Cheap,
    knots,
    look,
)
from twin_engine.mend_network import LATENT, MendVae, inputs
from twin_engine.messages import Floats
from twin_engine.network import kl_divergence, laplace_nll, laplace_noise
from twin_engine.plans import Plan

BATCH, PATHS = 64, 4
_PACE, _DECAY = Pace(3e-3, 500, lambda step: max(0.005, 1 / step)), 1e-2
_KL_WEIGHT, _ENERGY_WEIGHT, _MOVES_WEIGHT, _FREE_NATS = 0.2, 0.5, 0.3, 0.02
GAPS, _CHUNK = 40_000, 4000
_RIDGE_PART, _CHECKED = 0.15, 1500  # ridge gets this part of the gaps at every length
_FEWEST = 200  # gaps of one length; where fewer can be pretended, the next shorter length speaks for it
_PENALTIES = (0.003, 0.03, 0.3)


def lengths_of(plan: Plan) -> Floats:
    """(G,) steps of the gaps for which the cheap fillings are fitted: 2 3 4 6 8 12 … up to the horizon."""
    longest = plan.horizon_s / plan.grid_s
    ladder = {2.0, longest} | {m * 2.0**k for k in range(1, 12) for m in (1.0, 1.5)}
    return np.array(sorted(x for x in ladder if x <= longest and not longest > x > 0.8 * longest))


def fit_cheap(field: Field, judges: Field, rng: np.random.Generator, draws: int) -> Cheap:
    """The cheap fillings from `draws` gaps of the learners a length; the judges choose ridge's penalty."""
    lengths, typical = lengths_of(field.plan), _typical(field, rng)
    unit, hard = np.ones((len(lengths), KNOTS)), np.zeros((len(lengths), FACTS))  # where too few gaps tell more
    ridges = np.zeros((len(_PENALTIES), len(AFTER_CLASSES), len(lengths), KNOTS, FEATURES))
    errors = np.zeros(len(_PENALTIES))
    bounds = [*AFTER_CLASSES, AFTER_STEPS + 1]
    for g, length in enumerate(lengths):
        facts, misses = [], []
        for c in range(len(AFTER_CLASSES)):
            low, high = bounds[c], bounds[c + 1] - 1
            drawn = [_at_knots(f, (int(length), low, high), typical, rng, draws) for f in (field, judges)]
            if len(drawn[0][0]) < _FEWEST:
                ridges[:, c:, g] = ridges[:, c - 1 : c, g] if c else 0.0  # the class with fewer steps after speaks
                break
            (x, y, fact), (check, truth, _) = drawn
            gram, cross = x.T @ x / len(x), x.T @ y / len(x)
            for p, penalty in enumerate(_PENALTIES):
                ridges[p, c, g] = np.linalg.solve(gram + penalty * np.eye(FEATURES), cross).T
                errors[p] += np.abs(check @ ridges[p, c, g].T - truth).mean() / np.abs(y).mean() if len(check) else 0.0
            facts.append(fact)
            misses.append(np.abs(y - x @ ridges[1, c, g].T))
        if misses:
            unit[g], hard[g] = _difficulty(np.concatenate(facts), np.concatenate(misses))
        else:
            unit[g], hard[g], ridges[:, :, g] = unit[g - 1], hard[g - 1], ridges[:, :, g - 1]
    cheap = Cheap(lengths, unit, hard, ridges[errors.argmin()], 1.0, typical)
    return replace(cheap, recall=_recall(field, cheap, rng))


def _typical(field: Field, rng: np.random.Generator) -> Floats:
    """(1 + len(ROUGH_STEPS),) median scale and roughness of the learners, model space."""
    gaps = pretend(field, np.full(2000, 2), rng)
    seen = look(
        *sides(field, gaps, np.full(len(gaps.steps), AFTER_STEPS)),
        gaps.steps.astype(np.float64),
        np.full(1 + len(ROUGH_STEPS), 1e-6),
    )
    return np.median(np.column_stack([seen.scale, np.exp(seen.rough) * seen.scale[:, None]]), axis=0)


def _difficulty(facts: Floats, misses: Floats) -> tuple[Floats, Floats]:
    """Profile (K,) along the gap of ridge's errors `misses` (B, K), and their log size from `facts` (FACTS,)."""
    size = np.log(np.maximum(misses.mean(1), 1e-4))
    gram = facts.T @ facts / len(facts) + 1e-2 * np.eye(FACTS)
    hard = np.linalg.solve(gram, facts.T @ size / len(facts))
    relative = misses / np.exp(np.clip(facts @ hard, -8, 4))[:, None]
    return np.maximum(np.minimum(relative, np.quantile(relative, 0.98)).mean(0), 1e-3), hard


def _at_knots(
    field: Field, kind: tuple[int, int, int], typical: Floats, rng: np.random.Generator, draws: int
) -> tuple[Floats, Floats, Floats]:
    """Ridge's features (B, F), and the truth at the knots as residuals (B, K), missing readings filled straight; facts.

    `kind` is the gaps' length and the least and most steps seen after them.
    """
    length, low, high = kind
    gaps = pretend(field, np.full(draws, length), rng)
    if not len(gaps.steps):
        return np.empty((0, FEATURES)), np.empty((0, KNOTS)), np.empty((0, FACTS))
    seen = look(*sides(field, gaps, reaches(len(gaps.steps), rng, low, high)), gaps.steps.astype(np.float64), typical)
    inside = field.plan.forward(field.values[gaps.start[:, None] + np.arange(length + 1)])
    steps = np.arange(length + 1)
    known = np.isfinite(inside)
    enough = known.mean(1) > 0.7
    path = np.stack([np.interp(steps, steps[k], row[k]) for row, k in zip(inside[enough], known[enough], strict=True)])
    where = knots() * length
    low_at = np.floor(where).astype(np.int64)
    values = path[:, low_at] + (where - low_at) * (path[:, low_at + 1] - path[:, low_at])
    line = seen.last[enough, None] + (seen.jump * seen.scale)[enough, None] * knots()
    return seen.features()[enough], (values - line) / seen.scale[enough, None], seen.facts()[enough]


def _recall(field: Field, cheap: Cheap, rng: np.random.Generator) -> float:
    """Memory in steps of the Ornstein-Uhlenbeck bridge with the least error."""
    drawn = draw(field, cheap, 3000, rng)
    candidates = cheap.lengths[-1] * 2.0 ** np.arange(-8, 4)
    ou = BASES.index("ou")
    errors = [
        np.nanmean(np.abs(replace(cheap, recall=c).fill(drawn.seen)[0][..., ou] - drawn.truth)) for c in candidates
    ]
    return float(candidates[int(np.argmin(errors))])


@dataclass(frozen=True, slots=True)
class Batch:
    """What the network reads of B gaps (see ``inputs``), the fillings and the truth in units, `known` 0/1."""

    before: Tensor
    after: Tensor
    statics: Tensor
    place: Tensor
    bases: Tensor
    truth: Tensor
    known: Tensor

    def rows(self, rows: Tensor) -> Batch:
        """Some of them."""
        return Batch(*(getattr(self, name)[rows] for name in self.__slots__))


def batch_of(drawn: Drawn, cheap: Cheap) -> Batch:
    """Tensors of what was drawn."""
    fillings, unit = cheap.fill(drawn.seen)
    known = np.isfinite(drawn.truth)
    truth = np.clip(np.where(known, drawn.truth, 0.0) / unit, -30, 30)
    arrays = (*inputs(drawn.seen, cheap), fillings / unit[..., None], truth, known)
    return Batch(*(torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)) for array in arrays))


def fit_network(
    signal: str, data: Batch, check: Batch, steps: int, seed: int, progress: Progress
) -> tuple[MendVae, dict[str, float]]:
    """The network with the best validation CRPS within `steps`, and its validation numbers."""
    torch.manual_seed(seed)
    network = MendVae()
    optimiser = torch.optim.AdamW(network.parameters(), _PACE.rate, weight_decay=_DECAY, fused=True)
    recipe = Recipe(steps, seed)
    state = begin(network, optimiser, recipe)

    def step(done: float) -> None:
        _step(network, optimiser, data.rows(torch.randint(0, len(data.truth), (BATCH,))), min(1.0, 3 * done))

    descend(state, recipe, _PACE, step, lambda: _judge(network, check), lambda done: progress(signal, done))
    return network.eval(), state.numbers | {"steps": float(steps)}


def _step(network: MendVae, optimiser: torch.optim.Optimizer, batch: Batch, warm: float) -> None:
    """One step on paths from the prior (CRPS, path energy) and on the evidence lower bound (posterior, KL)."""
    network.train()
    context = network.encode(batch.before, batch.after, batch.statics)
    prior = network.prior_of(context)
    posterior = network.posterior_of(context, batch.place, batch.truth, batch.known)
    z = prior[0][:, None] + torch.exp(0.5 * prior[1])[:, None] * torch.randn(len(context), PATHS, LATENT)
    seen = posterior[0] + torch.exp(0.5 * posterior[1]) * torch.randn_like(posterior[0])
    centre, scale = network.decode(context, torch.cat([z, seen[:, None]], 1), batch.place, batch.bases)
    paths = centre[:, :-1] + scale[:, :-1] * laplace_noise(torch.rand_like(centre[:, :-1]))
    crps, energy, moves = path_scores(paths, batch.truth, batch.known)
    nll = laplace_nll(batch.truth, centre[:, -1], scale[:, -1]) * batch.known
    kl = kl_divergence(posterior, prior).mean(0).clamp(min=_FREE_NATS).sum()
    bound = nll.sum() / batch.known.sum().clamp(min=1) + warm * kl / batch.truth.shape[1]
    loss = crps + _ENERGY_WEIGHT * energy + _MOVES_WEIGHT * moves + _KL_WEIGHT * bound
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()


@torch.no_grad()
def _judge(network: MendVae, check: Batch) -> dict[str, float]:
    """Validation numbers, in units; the same noise each time."""
    noise = torch.Generator().manual_seed(0)
    count, places = check.truth.shape
    context = network.encode(check.before, check.after, check.statics)
    prior = network.prior_of(context)
    z = prior[0][:, None] + torch.exp(0.5 * prior[1])[:, None] * torch.randn((count, 8, LATENT), generator=noise)
    centre, scale = network.decode(context, z, check.place, check.bases)
    paths = centre + scale * laplace_noise(torch.rand((count, 8, places), generator=noise))
    crps, energy, moves = path_scores(paths, check.truth, check.known)
    posterior = network.posterior_of(context, check.place, check.truth, check.known)
    kl = float(kl_divergence(posterior, prior).sum(1).mean())
    return {"crps": float(crps), "path_energy": float(energy), "move_energy": float(moves), "kl_nats": kl}


def fit_mender(
    signal: str,
    learners: Sequence[Recording],
    judges: Sequence[Recording],
    *,
    steps: int,
    seed: int,
    progress: Progress,
    gaps: int = GAPS,
) -> tuple[Mender, dict[str, float]]:
    """A mender of `signal` and its validation numbers.

    Trained for `steps` on `gaps` pretended in `learners`, calibrated on `judges`; `progress` hears of the part done.
    The same seed, recordings and library versions give the same weights. ValueError where nobody has the signal.
    """
    rng = np.random.default_rng(seed)
    field, check = field_of(learners, signal), field_of(judges, signal)
    cheap = fit_cheap(field, check, rng, round(_RIDGE_PART * gaps))
    chunk = min(_CHUNK, gaps)
    parts = [batch_of(draw(field, cheap, chunk, rng, spoilt=True), cheap) for _ in range(gaps // chunk)]
    data = Batch(*(torch.cat([getattr(part, name) for part in parts]) for name in Batch.__slots__))
    judged = batch_of(draw(check, cheap, _CHECKED, rng), cheap)
    network, numbers = fit_network(signal, data, judged, steps, seed, progress)
    judgement, share = judge(signal, cheap, network, (field, check), rng, min(JUDGE_DRAWS, gaps // 4))
    return Mender(signal, cheap, network, judgement), numbers | {"learned_share": share}
