"""Both lungs with their fissures, and the airways: trachea, bronchi and a bronchial tree grown into the lungs.

In the base body's place, metres. All carry the morph `inhale`.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, label

from web.ui.avatar.fields import Grid, Point, capsule, cut, ellipsoid, join, ridge, tube
from web.ui.avatar.gltf import Part
from web.ui.avatar.makehuman import Floats

_APEX_Y, _BASE_Y = 1.476, 1.150  # of the lungs
_SEED = 20  # of the tips of the airways: any fixed number

# from the base's edge (0) to the apex (1): half width and half depth of the pleura, and its middle
_LEVELS = [0.0, 0.12, 0.30, 0.50, 0.68, 0.82, 0.92, 0.98, 1.0]
_HALF_WIDTH = [0.0560, 0.0600, 0.0590, 0.0550, 0.0480, 0.0385, 0.0270, 0.0130, 0.0010]
_HALF_DEPTH = [0.0840, 0.0880, 0.0870, 0.0820, 0.0720, 0.0560, 0.0380, 0.0180, 0.0010]
_MIDDLE_X = [0.0730, 0.0720, 0.0690, 0.0650, 0.0600, 0.0550, 0.0510, 0.0480, 0.0470]
_MIDDLE_Z = [0.0260, 0.0270, 0.0270, 0.0230, 0.0160, 0.0080, 0.0030, 0.0020, 0.0020]

# planes (nx, ny, nz, d) with n.p = d, in the body's frame; the horizontal one exists on the right, before the oblique
OBLIQUE = (0.0, 0.690, 0.724, 0.690 * 1.300 + 0.724 * 0.024)
HORIZONTAL = (0.0, 0.995, -0.095, 0.995 * 1.312 - 0.095 * 0.060)


def _pleura(p: Floats, side: int) -> Floats:
    """The sac that a lung fills (before the fissures), for side 1 = left, -1 = right."""
    x, y, z = p[..., 0] * side, p[..., 1], p[..., 2]
    level = np.clip((y - _BASE_Y) / (_APEX_Y - _BASE_Y), 0, 1)
    profile = (_HALF_WIDTH, _HALF_DEPTH, _MIDDLE_X, _MIDDLE_Z)
    width, depth, mid_x, mid_z = (np.interp(level, _LEVELS, values) for values in profile)
    around = (np.abs((x - mid_x) / width) ** 2.3 + np.abs((z - mid_z) / depth) ** 2.3) ** (1 / 2.3)
    field = (around - 1) * np.minimum(width, depth) * 0.9
    field = np.maximum(field, y - _APEX_Y)
    field = cut(field, x - (0.014 + 0.030 * np.clip((y - 1.36) / 0.11, 0, 1) ** 2), 0.014)  # the mediastinum
    dome = ellipsoid(p, (side * 0.070, 1.105, 0.020), (0.088, 0.128 if side > 0 else 0.138, 0.108))
    field = cut(field, dome, 0.007)
    bed = ellipsoid(p, (0.032, 1.256, 0.068), (0.062, 0.064, 0.056))  # where the heart lies: the left lung's notch
    field = cut(field, bed, 0.010)
    spine = capsule(p, (0.0, 1.10, -0.052), (0.0, 1.50, -0.030), 0.030, 0.026)
    return cut(field, spine, 0.010)


def lung(side: int) -> Part:
    """The left (1) or right (-1) lung, lobes parted by grooves; the planes go along for the viewer's fine lines."""
    low, high = (0.004, _BASE_Y - 0.02, -0.085), (0.145, _APEX_Y + 0.012, 0.125)
    grid = (
        Grid(low, high, 0.0034) if side > 0 else Grid((-high[0], low[1], low[2]), (-low[0], high[1], high[2]), 0.0034)
    )
    p = grid.points
    field = _pleura(p, side)
    oblique = p @ np.array(OBLIQUE[:3]) - OBLIQUE[3]
    field = field + 0.0034 * ridge(oblique, 0.0040)
    if side < 0:
        horizontal = p @ np.array(HORIZONTAL[:3]) - HORIZONTAL[3]
        field = field + 0.0030 * ridge(horizontal, 0.0040) * np.clip(oblique / 0.006, 0, 1)
    s = grid.surface(field, 4_400, soften=0.9)
    fissures = [OBLIQUE] if side > 0 else [OBLIQUE, HORIZONTAL]
    extras = {"fissures": [[round(float(v), 5) for v in plane] for plane in fissures]}
    return Part("lung_l" if side > 0 else "lung_r", s.vertices, s.normals, s.faces, _inhale(s.vertices), extras=extras)


def _inhale(vertices: Floats) -> dict[str, Floats]:
    """A deep breath: the base goes down with the diaphragm, the ribs lift the walls out and forward."""
    depth = np.clip((_APEX_Y - vertices[:, 1]) / (_APEX_Y - _BASE_Y), 0, 1)
    down = -0.017 * depth**2.2
    out = 0.055 * (vertices[:, 0] - np.sign(vertices[:, 0]) * 0.03) * depth
    forward = 0.070 * (vertices[:, 2] + 0.06) * depth
    return {"inhale": np.stack([out, down, forward], axis=1)}


def airways() -> Part:
    """Trachea with its rings, the main bronchi and a bronchial tree in each lung."""
    grid = Grid((-0.128, 1.165, -0.070), (0.128, 1.530, 0.110), 0.0017)
    field = np.full(grid.points.shape[:3], 0.05)
    trachea = tube(
        grid.points, [(0.0, 1.512, 0.022), (0.0, 1.44, 0.006), (0.002, 1.372, -0.006)], [0.0092, 0.0088, 0.0086]
    )
    field = np.minimum(field, trachea - 0.0007 * np.sin(grid.points[..., 1] * (2 * np.pi / 0.0075)))
    for a, b, ra, rb in _tree():
        box = grid.around(a, b, ra + 0.008)
        field[box] = join(field[box], capsule(grid.points[box], a, b, ra, rb), 0.0022)
    pieces, _ = label(gaussian_filter(field, 0.5) < 0.0)
    trachea_piece = pieces[tuple(np.argwhere(trachea < -0.004)[0])]
    field = np.where(
        (pieces == 0) | (pieces == trachea_piece), field, 0.05
    )  # a twig that the grid cut off is no airway
    s = grid.surface(field, 8_400, soften=0.5)
    return Part("airways", s.vertices, s.normals, s.faces, {"inhale": 0.8 * _inhale(s.vertices)["inhale"]})


def _tree() -> list[tuple[Point, Point, float, float]]:
    """Segments (from, to, radius, radius). Tips are spread evenly in the lungs; radii follow Murray's law."""
    segments: list[tuple[Point, Point, float, float]] = []
    for side, hilum in ((1, (0.044, 1.322, -0.012)), (-1, (-0.040, 1.330, -0.010))):
        nodes: list[Floats] = [np.array([0.002, 1.372, -0.006]), np.array(hilum)]
        parent = [-1, 0]
        for tip in _tips(side, np.array(hilum)):
            _grow(nodes, parent, tip)
        radius = _murray(parent)
        for i in range(1, len(nodes)):
            a, b = nodes[parent[i]], nodes[i]
            segments.append((tuple(a), tuple(b), float(radius[i] * 1.06), float(radius[i])))
    return segments


def _tips(side: int, hilum: Floats, count: int = 26) -> list[Floats]:
    """Points at least 9 mm inside the lung, each the farthest from those before; nearest to the hilum first."""
    rng = np.random.default_rng(_SEED + side)
    low, high = np.array([0.02, _BASE_Y, -0.07]), np.array([0.13, _APEX_Y, 0.11])
    cloud = (low + rng.random((6000, 3)) * (high - low)) * [side, 1, 1]
    cloud = cloud[_pleura(cloud, side) < -0.009]
    chosen = [cloud[np.linalg.norm(cloud - hilum, axis=1).argmin()]]
    gap = np.linalg.norm(cloud - chosen[0], axis=1)
    while len(chosen) < count:
        chosen.append(cloud[gap.argmax()])
        gap = np.minimum(gap, np.linalg.norm(cloud - chosen[-1], axis=1))
    return sorted(chosen, key=lambda point: float(np.linalg.norm(point - hilum)))


def _grow(nodes: list[Floats], parent: list[int], tip: Floats) -> None:
    """Adds a branch to `tip` from the node that makes the shortest way, bent gently on the way."""
    here = np.array(nodes[1:])
    hilum = nodes[1]
    cost = np.linalg.norm(here - tip, axis=1) + 0.25 * np.linalg.norm(here - hilum, axis=1)
    start = int(cost.argmin()) + 1
    before = nodes[parent[start]] if parent[start] >= 0 else nodes[start]
    onward = nodes[start] - before
    reach = tip - nodes[start]
    onward = onward / (np.linalg.norm(onward) + 1e-9) * np.linalg.norm(reach)
    for t in (0.34, 0.68, 1.0):
        nodes.append(nodes[start] + reach * t + onward * 0.32 * t * (1 - t))
        parent.append(start if t < 0.5 else len(nodes) - 2)


def _murray(parent: list[int]) -> Floats:
    """Radius m of the segment that ends at each node: cubes add up at each fork, tips are 2 mm."""
    cube = np.zeros(len(parent))
    forks = set(parent)
    for i in range(len(parent) - 1, 0, -1):
        if i not in forks:
            cube[i] = 0.0020**3
        cube[parent[i]] += cube[i]
    return np.asarray(np.clip(cube ** (1 / 3), 0.0020, 0.0068))
