"""Two published imputation networks as rivals: SAITS and BRITS, trained on blocks (``fit_rivals``), run from a cache.

Each signal has a network of either kind for each of three grids: a gap is filled on the finest on which it is at most
some forty cells long (``rival_windows`` says what a network sees), and laid back on the signal's own grid. A folder
holds one safetensors file a network (float16 weights, and how it was trained); running them needs no PyPOTS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file

from twin_engine.lab.rival_nets import reconstruct
from twin_engine.lab.rival_windows import (
    BESIDE,
    STEPS,
    Bools,
    Layout,
    between,
    cells,
    layout_of,
    model_space,
    normalise,
    stacked,
)
from twin_engine.messages import Floats
from twin_engine.plans import PLANS, Ints

RIVALS = ("saits", "brits")
CACHED = Path(__file__).resolve().parents[2] / "benchmarks" / "rivals"  # those that a checkout brings
# signal -> (cell, longest gap), both seconds, finest first
GRIDS_S: dict[str, tuple[tuple[float, float], ...]] = {
    "gsr_uS": ((0.25, 10.0), (1.5, 60.0), (7.5, 300.0)),
    "emg_activity_mV": ((0.1, 4.0), (0.3, 10.0), (1.5, 60.0)),
    "skin_temp_C": ((1.0, 30.0), (2.0, 60.0), (10.0, 300.0)),
    "hr_bpm": ((1.0, 30.0), (2.0, 60.0), (10.0, 300.0)),
}
Gappy = tuple[Floats, Mapping[str, Floats], Ints]  # values, the other channels, last steps before the gaps
_BATCH = 500
SUFFIX = ".safetensors"


class RivalError(RuntimeError):
    """A cached rival can't be used as asked."""


@dataclass(frozen=True, slots=True)
class Cached:
    """One trained network: weights (float32), floors (C,) of the scales in model space, what its training told."""

    method: str
    heads: int
    floors: Floats
    weights: dict[str, torch.Tensor] = field(repr=False)
    header: dict[str, str] = field(repr=False)

    def run(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """(B, L, C) reconstruction of normalised windows; 0 where not `seen`."""
        with torch.inference_mode():
            return reconstruct(self.method, self.weights, x, seen, self.heads)


@dataclass(frozen=True, slots=True)
class Rivals:
    """The cached networks, by method, signal and cell length."""

    nets: dict[tuple[str, str, float], Cached]

    @classmethod
    def load(cls, folder: Path) -> Rivals | None:
        """What ``train_rivals`` left in `folder`; None where there is nothing. Raises RivalError for a damaged file."""
        paths = sorted(folder.glob(f"*{SUFFIX}"))
        nets = {}
        for path in paths:
            if not path.name.startswith("base-"):
                net = read_net(path)
                nets[net.method, net.header["signal"], float(net.header["grid_s"])] = net
        return cls(nets) if nets else None

    def layout(self, signal: str, gap_s: float, *, retrospective: bool = True) -> Layout | None:
        """How a window for this gap is laid out; None where no rival fits. Causal windows have more context."""
        for grid_s, longest_s in GRIDS_S.get(signal, ()):
            if gap_s <= longest_s + 1e-9 and all((method, signal, grid_s) in self.nets for method in RIVALS):
                return layout_of(grid_s, gap_s, retrospective)
        return None

    def impute(self, method: str, signal: str, window: Floats, lost: Bools, grid_s: float) -> Floats:
        """(B, L) the target with its lost cells made, signal's unit; NaN where nothing is known before the gap.

        `window` (B, L, C) on cells of `grid_s`: the target, then :data:`BESIDE`, each in its unit, NaN missing; what
        it holds where `lost` (B, L) is not looked at. Lost cells are one block a window, at the end or before the
        last cells. L = STEPS. Raises RivalError where there is no such rival, or the shape is another.
        """
        net = self.nets.get((method, signal, grid_s))
        if net is None or window.shape[1:] != (STEPS, 1 + len(BESIDE)):
            raise RivalError(
                f"expected {method} for {signal} on {grid_s:g} s and windows (B, {STEPS}, {1 + len(BESIDE)}), "
                f"got {window.shape} and rivals {sorted(self.nets)}; nothing was imputed"
            )
        plan = PLANS[signal]
        made = np.empty(lost.shape)
        for at in range(0, len(window), _BATCH):
            rows = slice(at, at + _BATCH)
            normal = normalise(model_space(signal, window[rows]), lost[rows], net.floors)
            out = net.run(torch.from_numpy(normal.x), torch.from_numpy(normal.seen))[..., 0].numpy()
            made[rows] = plan.inverse(out * normal.scale[:, None] + normal.base)
        return np.where(lost, made, window[..., 0])

    def fill(
        self,
        method: str,
        signal: str,
        values: Floats,
        others: Mapping[str, Floats],
        starts: Ints,
        gap_s: float,
        *,
        retrospective: bool,
    ) -> Floats:
        """(B, n) the steps start + 1 … start + n of gaps in one recording: :meth:`fill_all` of one."""
        return self.fill_all(method, signal, [(values, others, starts)], gap_s, retrospective=retrospective)

    def fill_all(
        self, method: str, signal: str, recordings: Sequence[Gappy], gap_s: float, *, retrospective: bool
    ) -> Floats:
        """(B, n) the steps start + 1 … start + n of the gaps in all `recordings`, on the signal's own grid.

        A recording is values (S,), others (channel or slot -> (S,)), signal's unit, NaN missing, and the steps of the
        last readings before its gaps. All are imputed at once: BRITS costs hardly more for five hundred gaps than
        for one. A causal filling sees nothing after a gap's start; a retrospective one sees all channels before and
        after the gap. Raises RivalError where no rival fits this gap.
        """
        layout = self.layout(signal, gap_s, retrospective=retrospective)
        if layout is None:
            raise RivalError(f"expected a rival for {gap_s:g} s of {signal}, got none cached; nothing was imputed")
        width, length = (round(x / PLANS[signal].grid_s) for x in (layout.grid_s, gap_s))
        window = np.concatenate([cells(signal, stacked(signal, v, o), s, layout, width) for v, o, s in recordings])
        gap = slice(layout.context, layout.context + layout.gap)
        lost = np.zeros(window.shape[:2], bool)
        lost[:, gap] = True
        made = self.impute(method, signal, window, lost, layout.grid_s)[:, gap]
        if width == 1:
            return made[:, :length]
        edges = np.cumsum([len(starts) for _, _, starts in recordings])[:-1]
        parts = zip(np.split(made, edges), recordings, strict=True)
        return np.concatenate([between(signal, m, v, s, length, width, retrospective) for m, (v, _, s) in parts])


def read_net(path: Path) -> Cached:
    """One cached file. Raises RivalError where it is damaged or not ours."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = dict(file.metadata() or {})
        arrays = {name: value.float() for name, value in load_file(path).items()}
        settings = json.loads(header["settings"])
        weights = {name.removeprefix("w."): value for name, value in arrays.items() if name.startswith("w.")}
        floors = arrays["floors"].numpy().astype(np.float64)
        return Cached(header["method"], int(settings["heads"]), floors, weights, header)
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise RivalError(f"expected a trained rival in {path.name}, got {error}; train the rivals again") from error
