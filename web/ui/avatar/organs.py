"""The organs, from signed-distance fields: the heart with its great vessels here, lungs and brain beside it.

Stylised, but in the right place, proportion and orientation for the base body (male, young, average; metres). The
viewer fits them to other bodies through each organ's *frame*, see `bake.py`. Lungs and heart carry a morph: `inhale`
and `systole`. The heart's `_TISSUE` mask is ventricle, atrium, artery, vein.
"""

from __future__ import annotations

import numpy as np

from web.ui.avatar.brain import brain
from web.ui.avatar.fields import Grid, capsule, ellipsoid, join, ridge, tube
from web.ui.avatar.gltf import Part
from web.ui.avatar.lungs import airways, lung
from web.ui.avatar.makehuman import Floats

_HEART_BASE = (0.007, 1.286, 0.046)  # middle of the valves' plane
_HEART_AXIS = np.array([0.67, -0.60, 0.44])  # towards the apex: left, down, forward


def build() -> list[Part]:
    """All organs, in the base body's place."""
    return [heart(), lung(1), lung(-1), airways(), brain()]


def heart() -> Part:
    """Four chambers, aorta with its arch and branches, pulmonary trunk, caval and pulmonary veins, coronaries."""
    grid = Grid((-0.064, -0.105, -0.080), (0.088, 0.132, 0.066), 0.0020)
    p = grid.points
    left, right = _ventricles(p)
    ventricles = _coronaries(left, right, join(left, right, 0.010))
    atria = _atria(p)
    arteries, veins = _arteries(p), _veins(p)
    muscle = join(ventricles, atria, 0.005) + 0.0022 * ridge(ventricles - atria, 0.0035)
    field = join(join(muscle, arteries, 0.0035), veins, 0.0035)
    surface = grid.surface(field, 9_000, soften=0.8)
    near = [grid.sample(d, surface.vertices) for d in (ventricles, atria, arteries, veins)]
    share = np.exp(-np.maximum(np.stack(near, axis=1), 0) / 0.0016)
    tissue = share / share.sum(1, keepdims=True)
    vertices = surface.vertices + _HEART_BASE
    return Part(
        "heart",
        vertices,
        surface.normals,
        surface.faces,
        _systole(surface.vertices, tissue, vertices),
        {"_TISSUE": tissue},
    )


def _systole(local: Floats, tissue: Floats, _: Floats) -> dict[str, Floats]:
    """Ventricles draw in towards their axis and the apex shortens; atria fill a little."""
    axis = _HEART_AXIS / np.linalg.norm(_HEART_AXIS)
    along = local @ axis
    radial = local - along[:, None] * axis
    squeeze = -0.17 * radial - 0.11 * np.maximum(along, 0)[:, None] * axis
    fill = 0.05 * (local - np.array([-0.018, 0.006, -0.016]))
    return {"systole": tissue[:, :1] * squeeze + tissue[:, 1:2] * fill}


def _ventricles(p: Floats) -> tuple[Floats, Floats]:
    apex = _HEART_AXIS / np.linalg.norm(_HEART_AXIS) * 0.081
    left = capsule(p, (0.012, -0.004, -0.008), tuple(apex + np.array([0.003, 0.001, -0.002])), 0.0325, 0.0145)
    right = capsule(p, (-0.022, -0.010, 0.019), tuple(apex * 0.84 + np.array([-0.006, -0.008, 0.006])), 0.0250, 0.0120)
    outflow = capsule(p, (-0.006, -0.004, 0.027), (0.010, 0.030, 0.026), 0.0200, 0.0130)
    return left, join(right, outflow, 0.014)


def _coronaries(left: Floats, right: Floats, both: Floats) -> Floats:
    """The groove between the ventricles and the artery that runs in it."""
    seam = left - right
    return np.asarray(both + 0.0022 * ridge(seam, 0.006) - 0.0030 * ridge(seam, 0.0017))


def _atria(p: Floats) -> Floats:
    right = ellipsoid(p, (-0.038, 0.004, 0.000), (0.0235, 0.0290, 0.0245))
    right = join(right, capsule(p, (-0.034, 0.020, 0.012), (-0.014, 0.030, 0.026), 0.0120, 0.0075), 0.008)  # auricle
    left = ellipsoid(p, (0.004, 0.016, -0.032), (0.0310, 0.0210, 0.0210))
    left = join(left, capsule(p, (0.026, 0.022, -0.020), (0.036, 0.026, 0.002), 0.0110, 0.0070), 0.008)
    return np.minimum(right, left)


def _arteries(p: Floats) -> Floats:
    aorta = tube(
        p,
        [(-0.004, 0.014, 0.006), (-0.013, 0.046, 0.012), (-0.008, 0.080, 0.004), (0.010, 0.092, -0.016),
         (0.025, 0.078, -0.040), (0.024, 0.036, -0.056), (0.016, -0.030, -0.062), (0.010, -0.098, -0.060)],
        [0.0145, 0.0135, 0.0125, 0.0118, 0.0112, 0.0104, 0.0098, 0.0092],
    )  # fmt: skip
    branches = [
        tube(p, [(-0.008, 0.084, 0.004), (-0.014, 0.106, 0.006), (-0.026, 0.126, 0.004)], [0.0074, 0.0064, 0.0060]),
        tube(p, [(0.004, 0.094, -0.010), (0.008, 0.112, -0.008), (0.012, 0.128, -0.006)], [0.0056, 0.0048, 0.0046]),
        tube(p, [(0.015, 0.092, -0.022), (0.024, 0.110, -0.024), (0.044, 0.124, -0.022)], [0.0062, 0.0054, 0.0050]),
    ]
    trunk = tube(p, [(0.010, 0.028, 0.026), (0.016, 0.050, 0.014), (0.014, 0.062, -0.006)], [0.0135, 0.0128, 0.0115])
    lungs = [
        tube(p, [(0.014, 0.061, -0.006), (-0.016, 0.062, -0.018), (-0.050, 0.054, -0.022)], [0.0100, 0.0092, 0.0074]),
        tube(p, [(0.014, 0.061, -0.006), (0.036, 0.066, -0.022), (0.062, 0.058, -0.030)], [0.0100, 0.0090, 0.0072]),
    ]
    out = join(aorta, trunk, 0.002)
    for part in branches + lungs:
        out = join(out, part, 0.003)
    return out


def _veins(p: Floats) -> Floats:
    parts = [
        tube(p, [(-0.038, 0.016, -0.004), (-0.038, 0.050, -0.004), (-0.036, 0.088, -0.002)], [0.0115, 0.0098, 0.0094]),
        tube(p, [(-0.036, 0.086, -0.002), (-0.010, 0.100, 0.016), (0.034, 0.116, 0.014)], [0.0080, 0.0072, 0.0068]),
        tube(p, [(-0.036, 0.086, -0.002), (-0.042, 0.104, 0.000), (-0.052, 0.118, 0.002)], [0.0080, 0.0072, 0.0066]),
        tube(
            p, [(-0.036, -0.010, -0.010), (-0.034, -0.044, -0.016), (-0.030, -0.080, -0.018)], [0.0130, 0.0122, 0.0120]
        ),
    ]
    for side, x in ((1, 0.030), (-1, -0.020)):
        for y0, y1 in ((0.024, 0.034), (0.010, 0.000)):
            parts.append(capsule(p, (x, y0, -0.036), (x + side * 0.030, y1, -0.040), 0.0068, 0.0056))
    return np.asarray(np.min(parts, axis=0))
