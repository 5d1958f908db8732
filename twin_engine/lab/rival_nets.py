"""The forward passes of PyPOTS 1.5's SAITS and BRITS, on weights with PyPOTS's own names, without PyPOTS.

So a cached rival runs wherever torch runs, what is read from disk is numbers, never code, and training is faster (in
BRITS, what doesn't depend on the memory is outside the loop). Each cached file holds inputs and what PyPOTS itself
made of them; a test holds these passes to it. Dropout is off. Sources: Du, Cote and Liu
2023 (SAITS, doi 10.1016/j.eswa.2023.119619); Cao and others 2018 (BRITS, NeurIPS 31). B windows, L steps, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]


def reconstruct(method: str, w: Weights, x: Tensor, seen: Tensor, heads: int) -> Tensor:
    """(B, L, C) what `method` ("saits" or "brits") makes of `x` (B, L, C), which is 0 where `seen` is 0."""
    return saits(w, x, seen, heads) if method == "saits" else brits(w, x, seen)


def saits(w: Weights, x: Tensor, seen: Tensor, heads: int) -> Tensor:
    """(B, L, C) reconstruction of `x` (B, L, C), which is 0 where `seen` (B, L, C) is 0."""
    first = w["encoder.reduce_dim_z.weight"], w["encoder.reduce_dim_z.bias"]
    hidden, _ = _attend(w, "1", "first", x, seen, heads)
    one = F.linear(hidden, *first)
    hidden, attention = _attend(w, "2", "second", seen * x + (1 - seen) * one, seen, heads)
    two = _linear(w, "encoder.reduce_dim_gamma", F.relu(_linear(w, "encoder.reduce_dim_beta", hidden)))
    mix = torch.sigmoid(_linear(w, "encoder.weight_combine", torch.cat([seen, attention.mean(1)], 2)))
    return (1 - mix) * two + mix * one


def _attend(w: Weights, block: str, name: str, x: Tensor, seen: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """One diagonally-masked self-attention block: hidden (B, L, D), attention of its last layer (B, H, L, L)."""
    hidden = _linear(w, f"encoder.embedding_{block}.embedding_layer", torch.cat([x, seen], 2))
    hidden = hidden + _positions(x.shape[1], hidden.shape[2])
    attention, layer = torch.empty(0), 0
    while (at := f"encoder.layer_stack_for_{name}_block.{layer}") + ".slf_attn.fc.weight" in w:
        hidden, attention = _layer(w, at, hidden, heads)
        layer += 1
    return hidden, attention


def _layer(w: Weights, at: str, hidden: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    q, k, v = (
        F.linear(hidden, w[f"{at}.slf_attn.w_{part}s.weight"]).view(*hidden.shape[:2], heads, -1).transpose(1, 2)
        for part in "qkv"
    )  # (B, H, L, D / H)
    scores = (q / q.shape[3] ** 0.5) @ k.transpose(2, 3)
    itself = torch.eye(hidden.shape[1], dtype=torch.bool)  # a step may not copy itself
    attention = scores.masked_fill(itself, -torch.inf).softmax(-1)
    mixed = F.linear((attention @ v).transpose(1, 2).flatten(2), w[f"{at}.slf_attn.fc.weight"])
    hidden = _norm(w, f"{at}.layer_norm", mixed + hidden)
    inner = F.relu(_linear(w, f"{at}.pos_ffn.linear_1", hidden))
    return _norm(w, f"{at}.pos_ffn.layer_norm", _linear(w, f"{at}.pos_ffn.linear_2", inner) + hidden), attention


def brits(w: Weights, x: Tensor, seen: Tensor) -> Tensor:
    """(B, L, C) reconstruction of `x` (B, L, C), which is 0 where `seen` (B, L, C) is 0: the mean of both ways."""
    there = _rits(w, "model.rits_f.", x, seen)
    back = _rits(w, "model.rits_b.", x.flip(1), seen.flip(1)).flip(1)
    return (there + back) / 2


def _rits(w: Weights, at: str, x: Tensor, seen: Tensor) -> Tensor:
    w = {name.removeprefix(at): value for name, value in w.items() if name.startswith(at)}
    cell = [w[f"rnn_cell.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    diagonal = torch.eye(x.shape[2])
    deltas = time_since_seen(seen)
    decay = torch.exp(-F.relu(_linear(w, "temp_decay_h", deltas, "W", "b")))
    fade = torch.exp(-F.relu(F.linear(deltas, w["temp_decay_x.W"] * diagonal, w["temp_decay_x.b"])))
    mix = torch.sigmoid(_linear(w, "combining_weight", torch.cat([fade, seen], 2)))
    across = w["feat_reg.W"] * (1 - diagonal)  # no channel explains itself
    hidden = memory = torch.zeros(len(x), cell[1].shape[1])
    fade, keep, lost, known = mix, 1 - mix, 1 - seen, seen * x
    made = []
    for f, k, u, v, m, d in zip(*(part.unbind(1) for part in (fade, keep, lost, known, seen, decay)), strict=True):
        hidden = hidden * d
        history = _linear(w, "hist_reg", hidden)
        beside = F.linear(v + u * history, across, w["feat_reg.b"])
        made.append(f * beside + k * history)
        hidden, memory = torch.lstm_cell(torch.cat([v + u * made[-1], m], 1), (hidden, memory), *cell)
    return torch.stack(made, 1)


def time_since_seen(seen: Tensor) -> Tensor:
    """(B, L, C) steps since the step before which a value was last known; 0 at the first step (GRU-D's delta)."""
    rows = [torch.zeros_like(seen[:, 0])]
    for t in range(1, seen.shape[1]):
        rows.append(1 + (1 - seen[:, t - 1]) * rows[-1])
    return torch.stack(rows, 1)


def _positions(steps: int, width: int) -> Tensor:
    """(L, D) sines and cosines of the place in the window."""
    place = torch.arange(steps).float()[:, None]
    rate = (torch.arange(0, width, 2).float() * -(torch.log(torch.tensor(10000)) / width)).exp()
    return torch.stack([torch.sin(place * rate), torch.cos(place * rate)], 2).flatten(1)


def _linear(w: Weights, at: str, x: Tensor, weight: str = "weight", bias: str = "bias") -> Tensor:
    return F.linear(x, w[f"{at}.{weight}"], w[f"{at}.{bias}"])


def _norm(w: Weights, at: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[2:], w[f"{at}.weight"], w[f"{at}.bias"], 1e-6)
