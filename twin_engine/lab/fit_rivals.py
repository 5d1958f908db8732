"""Trains PyPOTS 1.5's SAITS and BRITS on the training people, on blocks as the evaluation hides them.

PyPOTS's own `fit` hides single random points (SAITS) or none (BRITS), which teaches a network to look one step to
either side. Here PyPOTS's networks are trained by a loop of our own: a block is hidden (``rival_examples``), and the
loss is the mean absolute error in the block, weighted to the unit in which the evaluation counts (the person's
standard deviation), and a fifth of the error of what is seen, rebuilt from the rest.

One network of either kind is trained on all signals and grids first; from it, one is tuned for each signal and grid.
All are judged on validation people as they go, and the best state of each is kept. PyPOTS makes the networks, and a
few windows that it fills with the final weights are kept beside them as proof; the steps between run through
``rival_nets``, whose passes are the same and faster.

What was tried, by validation people's error in their SD, after 25 s of processor time on five grids together (mean of
the five; the cheap filling alone has 0.218):

    SAITS width 64, 1 layer, rate 0.002, values less the last one only (as published)      0.218
    the same, values less the cheap filling (the straight line where the far side is known) 0.212
    the same, width 32                                                                      0.214
    the same, width 64, rate 0.005                                                          0.210
    BRITS hidden 64, rate 0.002                                                             0.208
    BRITS hidden 32, rate 0.005                                                             0.211

Taken: width 64, one layer of two heads (two layers cost twice the time a step), hidden 64, rate 0.004, and 0.002 for
the tuning; no dropout, since no network came near to overfitting in such a time. Without the cheap filling SAITS did
better on EMG (0.412 against 0.427) and worse on the rest (heart rate 0.087 against 0.078, GSR 0.065 against 0.058).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from twin_engine.lab.recordings import TRAINING_FOLDERS, Recording, read_people, split
from twin_engine.lab.rival_examples import Pool, Pools, ask, pools_of
from twin_engine.lab.rival_loop import Settings, fit_net
from twin_engine.lab.rival_nets import time_since_seen
from twin_engine.lab.rival_windows import CHANNELS, STEPS
from twin_engine.lab.rivals import GRIDS_S, RIVALS, SUFFIX, RivalError, read_net

Progress = Callable[[str, float], None]

FIT_WINDOWS, CHECK_WINDOWS = 6_000, 240
_BASE_SHARE = 0.4  # of the time, for the network that all others start from


def train_rivals(
    data: Path,
    out: Path,
    *,
    seconds: float,
    seed: int,
    progress: Progress,
    signals: Sequence[str] = tuple(GRIDS_S),
    settings: Settings | None = None,
) -> dict[str, float]:
    """Train every rival for `signals` in about `seconds` of processor time; returns the validation errors.

    What `out` already holds from the same recordings, seed and settings is kept, so that training may be done in
    parts; for a longer training take a fresh folder. `progress` is told a name and the fraction done. Raises
    RivalError where PyPOTS is missing, and RecordingError where `data` holds no recordings to train on.
    """
    settings = settings or Settings()
    build = builder(settings)
    torch.set_num_threads(1)
    known = list(read_people(data, TRAINING_FOLDERS))
    parts = split([recording.person for recording in known])
    tag = {
        "data": _data_hash(known),
        "seed": str(seed),
        "settings": json.dumps(asdict(settings)),
    }
    fit = dict(pools_of(known, parts["train"], signals, FIT_WINDOWS, seed))
    check = dict(pools_of(known, parts["validation"], signals, CHECK_WINDOWS, seed + 1))
    check = {key: Pool(pool.windows, pool.person_sd, fit[key].floors, pool.gaps) for key, pool in check.items()}
    out.mkdir(parents=True, exist_ok=True)
    report: dict[str, float] = {}
    for method in RIVALS:
        share = seconds / len(RIVALS)
        base = _one(method, build, out / f"base-{method}{SUFFIX}", tag, fit, check, _BASE_SHARE * share, None, progress)
        for (signal, grid_s), pool in fit.items():
            key, path = (signal, grid_s), out / f"{method}-{signal}-{grid_s:g}s{SUFFIX}"
            own, judged, time_s = {key: pool}, {key: check[key]}, (1 - _BASE_SHARE) * share / len(fit)
            _one(method, build, path, tag, own, judged, time_s, base, progress)
            report[path.stem] = float(read_net(path).header["validation_mae_z"])
    return report


Build = Callable[[str], torch.nn.Module]


def builder(settings: Settings) -> Build:
    """Makes PyPOTS's networks. Raises RivalError where PyPOTS is not installed."""
    try:
        from pypots.imputation.brits.core import _BRITS
        from pypots.imputation.saits.core import _SAITS
        from pypots.nn.modules.loss import MAE
    except ImportError as error:
        raise RivalError(
            f"expected PyPOTS to train the rivals, got {error}; nothing was trained: pip install 'everbeat[benchmark]'"
        ) from error
    s, part, loss = settings, settings.width // settings.heads, MAE()

    def build(method: str) -> torch.nn.Module:
        if method == "saits":
            sizes = (s.width, s.heads, part, part, 2 * s.width, 0.0, 0.0)
            net: torch.nn.Module = _SAITS(s.layers, STEPS, CHANNELS, *sizes, True, 1, 1, loss, loss)
        else:
            net = _BRITS(STEPS, CHANNELS, s.hidden, loss, loss)
        return net

    return build


def theirs(method: str, net: torch.nn.Module, x: Tensor, seen: Tensor) -> Tensor:
    """(B, L, C) PyPOTS's own reconstruction of `x`, to hold ours to it."""
    with torch.no_grad():
        if method == "saits":
            return torch.as_tensor(net.eval()({"X": x, "missing_mask": seen})["reconstruction"])
        there = {"X": x, "missing_mask": seen, "deltas": time_since_seen(seen)}
        back = {"X": x.flip(1), "missing_mask": seen.flip(1), "deltas": time_since_seen(seen.flip(1))}
        return torch.as_tensor(net.eval()({"forward": there, "backward": back})["reconstruction"])


def _one(
    method: str,
    build: Build,
    path: Path,
    tag: dict[str, str],
    fit: Pools,
    check: Pools,
    seconds: float,
    start: dict[str, Tensor] | None,
    progress: Progress,
) -> dict[str, Tensor]:
    """The weights at `path`: kept where they were made from the same, else trained, from `start` where given."""
    header = {**tag, "method": method, "from_base": str(start is not None)}
    if start is not None:
        signal, grid_s = next(iter(fit))
        header |= {"signal": signal, "grid_s": f"{grid_s:g}"}
    if path.exists():
        old = read_net(path)
        if all(old.header.get(name) == value for name, value in header.items()):
            return old.weights
    settings = Settings(**json.loads(tag["settings"]))
    torch.manual_seed(int(tag["seed"]))
    net = build(method)
    if start is not None:
        net.load_state_dict(start, strict=False)
    rng = np.random.default_rng([int(tag["seed"]), *path.stem.encode()])
    rate = settings.rate if start is None else settings.tune_rate
    numbers = {"seconds": seconds} | fit_net(
        method, net, fit, check, seconds, rate, settings, rng, lambda share: progress(path.stem, share)
    )
    _save(method, net, path, header | {name: f"{value:.5g}" for name, value in numbers.items()}, check)
    return read_net(path).weights


def _save(method: str, net: torch.nn.Module, path: Path, header: dict[str, str], check: Pools) -> None:
    """Weights as float16, floors, and what PyPOTS itself makes of four windows with these very weights."""
    kept = {name: value.half() for name, value in net.state_dict().items() if not name.endswith((".m", "pos_table"))}
    net.load_state_dict({name: value.float() for name, value in kept.items()}, strict=False)
    pool = next(iter(check.values()))
    x, seen, *_ = ask(pool, np.arange(4), np.random.default_rng(6))
    made = theirs(method, net, x.half().float(), seen)
    proof = {"proof.x": x.half(), "proof.seen": seen.half(), "proof.made": made.clone()}
    floors = {"floors": torch.from_numpy(pool.floors.astype(np.float32))}
    new = path.with_suffix(".new")
    save_file({f"w.{name}": value.contiguous() for name, value in kept.items()} | proof | floors, new, header)
    new.replace(path)


def _data_hash(known: Sequence[Recording]) -> str:
    lines = sorted(f"{r.person} {name} {digest}" for r in known for name, digest in r.sha256.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
