"""Which experts serve this person best, learnt from her own shadow forecasts, and taken back where that does worse.

A forecast comes as the bounds of several experts with the population's weights (:class:`twin_engine.model.Forecast`).
What is shown is their weighted average, level by level (quantile averaging; Lichtendahl et al. 2013). Every scored
shadow forecast tells how far off each expert's centre was; the person's weights for the centres follow those errors
exponentially (prediction with expert advice: Cesa-Bianchi and Lugosi 2006, section 2.1), forgetting the old. The
spread keeps the population's weights: its size is the calibration's business. Only readings that were trusted are
scored, so nothing synthesised, quarantined or anomalous is ever learnt from; the weights stay a mixture of experts
that were all judged on other people; and where the personal mixture did worse than the population's, the
population's is used until it does better again.

Values and functions; a state is never changed, only replaced. A scored ages, E experts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from twin_engine.calibrate import NEWS, SCORE_AGES_S
from twin_engine.messages import Floats

MEMORY = 60  # scored forecasts after which an old one counts 1/e
SHARPNESS = 0.5  # how fast weight leaves an expert that does worse
ROLL_BACK = 1.02  # the personal mixture may do this much worse than the population's
_ENOUGH = 20  # discounted scores below which nothing is rolled back
_LEAST = 0.01  # no expert is ever quite forgotten: the population's weight counts as at least this


@dataclass(frozen=True, slots=True)
class Personal:
    """State of one channel: discounted absolute errors of each expert, of the population's mixture and of her own."""

    losses: npt.NDArray[np.float32]  # (A, E + 2)
    seen: npt.NDArray[np.float32]  # (A,) discounted number of scored forecasts

    @classmethod
    def start(cls, experts: int) -> Personal:
        """Nothing learnt yet."""
        ages = len(SCORE_AGES_S)
        return cls(np.zeros((ages, experts + 2), np.float32), np.zeros(ages, np.float32))

    @property
    def experts(self) -> int:
        """E, how many experts this was learnt of."""
        return int(self.losses.shape[1]) - 2

    @property
    def rolled_back(self) -> npt.NDArray[np.bool_]:
        """(A,) where the person is served by the population's weights because her own did worse."""
        return (self.seen >= _ENOUGH) & (self.losses[:, -1] > ROLL_BACK * self.losses[:, -2])

    def add(self, age: int, centres: Floats, truth: float, population: Floats) -> Personal:
        """With one scored forecast of age index `age`: the experts' `centres` (E,), and what came.

        `population` (A, E) are the weights for unknown people at the scored ages.
        """
        mixtures = np.stack([population[age], self._own(population)[age]]) @ centres
        losses, seen = self.losses.copy(), self.seen.copy()
        kept = 1 - 1 / MEMORY
        losses[age] = kept * losses[age] + np.abs(np.concatenate([centres, mixtures]) - truth)
        seen[age] = kept * seen[age] + 1
        return replace(self, losses=losses, seen=seen)

    def weights(self, population: Floats) -> Floats:
        """(A, E) weights at the scored ages; each row sums to 1."""
        return np.where(self.rolled_back[:, None], population, self._own(population))

    def _own(self, population: Floats) -> Floats:
        losses = self.losses[:, :-2].astype(np.float64)
        best = np.maximum(losses.min(1, keepdims=True), 1e-12)
        regret = np.where(self.seen[:, None] > 0, losses / best - 1, 0.0)
        log_weight = np.log(np.maximum(population, _LEAST)) - SHARPNESS * (np.array(NEWS) * self.seen)[:, None] * regret
        weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
        own: Floats = weight / weight.sum(1, keepdims=True)
        return np.where(self.seen[:, None] > 0, own, population)


def mixed(bounds: Floats, own: Floats, population: Floats) -> tuple[Floats, Floats, Floats]:
    """(centre, below, above), each (N,), of experts' `bounds` (E, N, 3: 5 %, 50 %, 95 %).

    The centre is weighted with the person's `own` weights (E, N), the distances to its bounds with the population's.
    """
    centres = bounds[..., 1]
    centre = (own * centres).sum(0)
    below = (population * (centres - bounds[..., 0])).sum(0)
    above = (population * (bounds[..., 2] - centres)).sum(0)
    return centre, below, above
