"""The brain: two hemispheres with sulci, temporal lobes, cerebellum with folia, brain stem. Base body, metres."""

from __future__ import annotations

import numpy as np

from web.ui.avatar.fields import Grid, Surface, capsule, cut, ellipsoid, join, tube
from web.ui.avatar.gltf import Part
from web.ui.avatar.makehuman import Floats

_SEED = 20  # of the gyri: any fixed number
_BRAIN = (0.0, 1.6725, 0.0470)


def brain() -> Part:
    """Two hemispheres with sulci, temporal lobes, cerebellum with folia, brain stem."""
    grid = Grid((-0.070, -0.098, -0.092), (0.070, 0.058, 0.092), 0.0021)
    p = grid.points
    cerebrum = _cerebrum(p)
    folds = _labyrinth(grid, wavelength_m=0.0150)
    surface_only = np.clip(1 + (cerebrum + 0.004) / 0.012, 0, 1)
    cerebrum = cerebrum + 0.0042 * np.exp(-((folds / 0.34) ** 2)) * surface_only
    cerebrum = np.maximum(cerebrum, 0.0011 - np.abs(p[..., 0]) + 0.02 * (p[..., 1] < -0.02))
    cerebellum = np.minimum(
        ellipsoid(p, (0.022, -0.041, -0.046), (0.029, 0.0195, 0.0250)),
        ellipsoid(p, (-0.022, -0.041, -0.046), (0.029, 0.0195, 0.0250)),
    )
    cerebellum = cerebellum + 0.0010 * np.sin((p[..., 1] + 0.25 * p[..., 2]) * (2 * np.pi / 0.0062))
    stem = tube(p, [(0, -0.016, -0.010), (0, -0.048, -0.020), (0, -0.092, -0.032)], [0.0120, 0.0105, 0.0080])
    stem = join(stem, ellipsoid(p, (0, -0.040, -0.012), (0.0165, 0.0135, 0.0125)), 0.005)
    field = join(np.minimum(cerebrum, cerebellum), stem, 0.003)
    s: Surface = grid.surface(field, 8_000, soften=0.6)
    return Part("brain", s.vertices + _BRAIN, s.normals, s.faces)


def _cerebrum(p: Floats) -> Floats:
    q = np.stack([np.abs(p[..., 0]), p[..., 1], p[..., 2]], axis=-1)
    body = ellipsoid(q, (0.0265, 0.004, 0.000), (0.0345, 0.0430, 0.0800))
    body = join(body, ellipsoid(q, (0.024, -0.006, 0.036), (0.0300, 0.0310, 0.0420)), 0.012)  # frontal
    body = join(body, ellipsoid(q, (0.022, -0.008, -0.052), (0.0280, 0.0290, 0.0270)), 0.012)  # occipital
    temporal = capsule(q, (0.042, -0.034, 0.028), (0.044, -0.024, -0.030), 0.0150, 0.0180)
    groove = capsule(q, (0.060, -0.022, 0.040), (0.066, -0.004, -0.024), 0.0045, 0.0030)  # lateral sulcus
    return cut(join(body, temporal, 0.008), groove, 0.006)


def _labyrinth(grid: Grid, wavelength_m: float) -> Floats:
    """Band-passed noise of unit variance. Its zero level winds as sulci do, evenly spaced."""
    noise = np.random.default_rng(_SEED).standard_normal(grid.points.shape[:3])
    waves = np.meshgrid(*[np.fft.fftfreq(n, grid.step_m) for n in noise.shape], indexing="ij")
    pitch = np.sqrt(sum((w**2 for w in waves), np.zeros(noise.shape)))
    band = np.exp(-(((pitch * wavelength_m - 1) / 0.22) ** 2) / 2)
    folds = np.fft.ifftn(np.fft.fftn(noise) * band).real
    return np.asarray(folds / folds.std())
