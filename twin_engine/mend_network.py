"""The LSTM-VAE of the revision, as a torch module: both sides of a closed gap in, paths across it out.

Two LSTMs read the bins of either side towards the gap; a prior and, in training, a posterior (which also reads the
truth) give a latent z; a bidirectional LSTM walks over the places in the gap and says, for each, how to mix the cheap
fillings, what to add, and how unsure to be. Everything is a residual from the straight line in units of
the unit of ``Cheap.fill``. Imported only by what trains or runs it, because importing torch takes seconds.

B gaps, P places, K latent samples.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from twin_engine.mend_bases import AFTER_STEPS, BASES, ROUGH_STEPS, Cheap, Seen
from twin_engine.plans import Floats32

HIDDEN, CONTEXT, LATENT, POSTERIOR_HIDDEN = 24, 40, 6, 20
STATICS = 8 + len(ROUGH_STEPS)
_BASES = len(BASES)
_RIDGE = BASES.index("ridge")
_PLACE = 4


class MendVae(nn.Module):
    """See the file's docstring. Inputs as :func:`inputs` makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.LSTM(2, HIDDEN, batch_first=True)
        self.after = nn.LSTM(2, HIDDEN, batch_first=True)
        self.context = nn.Sequential(nn.Dropout(0.1), nn.Linear(2 * HIDDEN + STATICS, CONTEXT), nn.SiLU())
        self.prior = nn.Linear(CONTEXT, 2 * LATENT)
        self.truth = nn.LSTM(2 + _PLACE, POSTERIOR_HIDDEN, batch_first=True)
        self.posterior = nn.Linear(CONTEXT + POSTERIOR_HIDDEN, 2 * LATENT)
        self.start = nn.Linear(CONTEXT + LATENT, 4 * HIDDEN)
        self.decoder = nn.LSTM(_BASES - 1 + _PLACE + LATENT, HIDDEN, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * HIDDEN, _BASES + 2)
        with torch.no_grad():  # begin as ridge with its own error
            self.head.weight.mul_(0.2)
            self.head.bias.zero_()
            self.head.bias[_RIDGE] = 3.0

    def encode(self, before: Tensor, after: Tensor, statics: Tensor) -> Tensor:
        """(B, CONTEXT) what both sides tell."""
        sides = [lstm(bins)[1][0][0] for lstm, bins in ((self.before, before), (self.after, after))]
        out: Tensor = self.context(torch.cat([*sides, statics], -1))
        return out

    def prior_of(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, LATENT) of z before anything of the gap is seen."""
        mean, log_var = self.prior(context).chunk(2, -1)
        return mean, log_var.clamp(-5, 3)

    def posterior_of(self, context: Tensor, place: Tensor, truth: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, LATENT) of z when the truth (B, P; units, `known` 0/1) is seen: training only."""
        told = torch.cat([(truth * known).clamp(-10, 10)[..., None], known[..., None], place], -1)
        mean, log_var = self.posterior(torch.cat([context, self.truth(told)[1][0][0]], -1)).chunk(2, -1)
        return mean, log_var.clamp(-5, 3)

    def decode(self, context: Tensor, z: Tensor, place: Tensor, bases: Tensor) -> tuple[Tensor, Tensor]:
        """Centre and Laplace scale (B, K, P), units, for each latent z (B, K, LATENT); `bases` (B, P, BASES) units."""
        samples, places = z.shape[1], bases.shape[1]
        wide = context[:, None].expand(-1, samples, -1)
        state = torch.tanh(self.start(torch.cat([wide, z], -1))).flatten(0, 1)  # (B·K, 4·HIDDEN)
        hidden, cell = (part.view(-1, 2, HIDDEN).transpose(0, 1).contiguous() for part in state.chunk(2, -1))
        told = torch.cat([bases[..., 1:].clamp(-8, 8) * 0.3, place], -1)[:, None].expand(-1, samples, -1, -1)
        inputs = torch.cat([told, z[:, :, None].expand(-1, -1, places, -1)], -1).flatten(0, 1)  # (B·K, P, …)
        out = self.head(self.decoder(inputs, (hidden, cell))[0]).view(len(z), samples, places, -1)
        mixed = (torch.softmax(out[..., :_BASES], -1) * bases[:, None]).sum(-1)
        delta, log_scale = out[..., _BASES], out[..., _BASES + 1]
        return mixed + 3 * torch.tanh(delta / 3), torch.exp(log_scale.clamp(-5, 3) - 0.2)


def inputs(seen: Seen, cheap: Cheap) -> tuple[Floats32, Floats32, Floats32, Floats32]:
    """What the network reads of `seen`: bins before and after (B, L, 2) towards the gap, statics, places (B, P, 4)."""
    steps, left = seen.steps[:, None], np.maximum(seen.steps[:, None] - seen.at, 0.5)
    log_longest = float(np.log(cheap.lengths[-1]))
    statics = [
        np.log(seen.scale / cheap.typical[0]),
        np.log(seen.steps) / log_longest,
        np.log(seen.reach) / np.log(AFTER_STEPS),
        seen.jump / 3,
        np.log(np.abs(seen.jump) + 0.1),
        seen.before[..., 1].mean(1),
        seen.after[..., 1].mean(1),
        seen.smooth(),
        *(seen.rough.T / 2 + 0.5),
    ]
    place = np.stack([seen.at / steps, np.log(seen.at) / log_longest, np.log(left) / log_longest, seen.real], -1)
    arrays = (seen.before[:, ::-1], seen.after[:, ::-1], np.clip(np.stack(statics, -1), -5, 5), place)
    before, after, told, where = (np.ascontiguousarray(array, dtype=np.float32) for array in arrays)
    return before, after, told, where
