"""The conditional LSTM-VAE, as a torch module: context in, paths over log-spaced gap ages out.

An LSTM reads the context's bins; a prior and, in training, a posterior (which also reads the truth) give a latent
z; a second LSTM walks over the ages and says, for each, how to mix the cheap forecasts, what to add, and how
unsure to be. Everything is in normalised units (``features.prepare``). Imported only by what trains or runs it,
because importing torch takes seconds.

B contexts, L bins, N ages, K latent samples, C cheap forecasts.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from twin_engine.features import SLOTS, STATICS

CHANNELS = 3 + 2 * len(SLOTS)
HIDDEN, LATENT, POSTERIOR_HIDDEN = 48, 8, 32


LATENT_PART, BASES_PART = "latent", "baselines"  # what an ablation takes away


class LstmVae(nn.Module):
    """See the file's docstring. `horizon_scale` (N,) is the training people's mean error of ridge at each age.

    `without` is "" or one of the parts above, which is then held at zero: the last value is the origin.
    """

    horizon_scale: Tensor
    ages: Tensor

    def __init__(self, nodes: Tensor, horizon_scale: Tensor, bases: int, without: str = "") -> None:
        super().__init__()
        self.bases = bases
        log_age = torch.log(nodes.float())
        step = torch.diff(log_age, prepend=log_age[:1])
        self.register_buffer("ages", torch.stack([log_age / log_age[-1], step], -1))  # (N, 2)
        self.register_buffer("horizon_scale", horizon_scale)
        self.without = without
        self.encoder = nn.LSTM(CHANNELS, HIDDEN, batch_first=True)
        self.context = nn.Sequential(nn.Dropout(0.2), nn.Linear(HIDDEN + STATICS, HIDDEN), nn.SiLU())
        self.prior = nn.Linear(HIDDEN, 2 * LATENT)
        self.future = nn.LSTM(4, POSTERIOR_HIDDEN, batch_first=True)
        self.posterior = nn.Linear(HIDDEN + POSTERIOR_HIDDEN, 2 * LATENT)
        self.start = nn.Linear(HIDDEN + LATENT, 2 * HIDDEN)
        self.decoder = nn.LSTM(bases + 2 + LATENT, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, bases + 2)
        with torch.no_grad():  # begin as ridge with its own error
            self.head.weight.mul_(0.3)
            self.head.bias.zero_()
            self.head.bias[0] = 1.5

    def encode(self, bins: Tensor, statics: Tensor) -> Tensor:
        """(B, HIDDEN) what is known when the gap opens."""
        hidden = self.encoder(bins)[1][0][0]  # (B, HIDDEN)
        out: Tensor = self.context(torch.cat([hidden, statics], -1))
        return out

    def prior_of(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, LATENT) of z before anything of the gap is seen."""
        mean, log_var = self.prior(context).chunk(2, -1)
        return mean, log_var.clamp(-5, 3)

    def posterior_of(self, context: Tensor, truth: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, LATENT) of z when the truth (B, N; `known` 0/1) is seen: training only."""
        seen = torch.stack([truth / self.horizon_scale * known, known], -1).clamp(-10, 10)
        future = self.future(torch.cat([seen, self.ages.expand(len(truth), -1, -1)], -1))[1][0][0]
        mean, log_var = self.posterior(torch.cat([context, future], -1)).chunk(2, -1)
        return mean, log_var.clamp(-5, 3)

    def decode(self, context: Tensor, z: Tensor, bases: Tensor) -> tuple[Tensor, Tensor]:
        """Centre and Laplace scale (B, K, N) for each latent z (B, K, LATENT); `bases` (B, N, C)."""
        count, samples, ages = len(context), z.shape[1], bases.shape[1]
        z = torch.zeros_like(z) if self.without == LATENT_PART else z
        bases = torch.zeros_like(bases) if self.without == BASES_PART else bases
        context = context[:, None].expand(-1, samples, -1)
        state = torch.tanh(self.start(torch.cat([context, z], -1))).flatten(0, 1)  # (B·K, 2·HIDDEN)
        hidden, cell = (part[None].contiguous() for part in state.chunk(2, -1))
        told = torch.cat(
            [(bases / self.horizon_scale[:, None]).clamp(-8, 8) * 0.3, self.ages.expand(count, -1, -1)], -1
        )
        told = told[:, None].expand(-1, samples, -1, -1)
        inputs = torch.cat([told, z[:, :, None].expand(-1, -1, ages, -1)], -1).flatten(0, 1)  # (B·K, N, …)
        out = self.head(self.decoder(inputs, (hidden, cell))[0]).view(count, samples, ages, -1)
        mixed = (torch.softmax(out[..., : self.bases], -1) * bases[:, None]).sum(-1)
        delta, log_scale = out[..., self.bases], out[..., self.bases + 1]
        centre = mixed + self.horizon_scale * 3 * torch.tanh(delta / 3)
        return centre, self.horizon_scale * torch.exp(log_scale.clamp(-4, 3) - 0.7)

    def paths(self, bins: Tensor, statics: Tensor, bases: Tensor, noise: Tensor, rattle: Tensor) -> Tensor:
        """Sampled paths (B, K, N) from the prior; `noise` (B, K, LATENT) normal, `rattle` (B, K, N) unit Laplace."""
        context = self.encode(bins, statics)
        mean, log_var = self.prior_of(context)
        z = mean[:, None] + torch.exp(0.5 * log_var)[:, None] * noise
        centre, scale = self.decode(context, z, bases)
        return centre + scale * rattle


def laplace_noise(uniform: Tensor) -> Tensor:
    """Unit Laplace values from `uniform` in (0, 1), any shape."""
    centred = uniform - 0.5
    return -torch.sign(centred) * torch.log1p(-2 * centred.abs().clamp(max=0.5 - 1e-6))


def kl_divergence(q: tuple[Tensor, Tensor], p: tuple[Tensor, Tensor]) -> Tensor:
    """(B, LATENT) Kullback-Leibler divergence of diagonal normals, in nats."""
    (q_mean, q_log), (p_mean, p_log) = q, p
    return 0.5 * (p_log - q_log + (q_log.exp() + (q_mean - p_mean) ** 2) / p_log.exp() - 1)


def laplace_nll(truth: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
    """Negative log likelihood, element by element; its minimum in `centre` is the median."""
    return (truth - centre).abs() / scale + torch.log(scale) + math.log(2.0)
