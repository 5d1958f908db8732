"""Heart with its great vessels, both lungs with fissures, the airways, and the brain, from signed-distance fields.

Stylised, but in the right place, proportion and orientation for the base body (male, young, average; metres). The
viewer fits them to other bodies through each organ's *frame*, see `bake.py`. Lungs and heart carry a morph: `inhale`
and `systole`. The heart's `_TISSUE` mask is ventricle, atrium, artery, vein.
"""

from __future__ import annotations

import numpy as np

from web.ui.avatar.fields import Grid, Point, Surface, capsule, cut, ellipsoid, join, ridge, tube
from web.ui.avatar.gltf import Part
from web.ui.avatar.makehuman import Floats

_HEART_BASE = (-0.002, 1.286, 0.046)  # middle of the valves' plane
_HEART_AXIS = np.array([0.60, -0.66, 0.45])  # towards the apex: left, down, forward
_APEX_Y, _BASE_Y = 1.476, 1.150  # of the lungs
_SEED = 20  # of the gyri and the airways: any fixed number


def build() -> list[Part]:
    """All organs, in the base body's place."""
    return [heart(), lung(1), lung(-1), airways(), brain()]


# ----------------------------------------------------------------------------------------------------- heart


def heart() -> Part:
    """Four chambers, aorta with its arch and branches, pulmonary trunk, caval and pulmonary veins, coronaries."""
    grid = Grid((-0.062, -0.105, -0.080), (0.078, 0.132, 0.066), 0.0020)
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
    apex = _HEART_AXIS / np.linalg.norm(_HEART_AXIS) * 0.074
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


# ----------------------------------------------------------------------------------------------------- lungs

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
    bed = ellipsoid(p, (0.022, 1.258, 0.066), (0.058, 0.064, 0.054))  # where the heart lies
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


# --------------------------------------------------------------------------------------------------- airways


def airways() -> Part:
    """Trachea with its rings, the main bronchi and a bronchial tree in each lung."""
    grid = Grid((-0.128, 1.165, -0.070), (0.128, 1.530, 0.110), 0.0019)
    field = np.full(grid.points.shape[:3], 0.05)
    trachea = tube(
        grid.points, [(0.0, 1.512, 0.022), (0.0, 1.44, 0.006), (0.002, 1.372, -0.006)], [0.0092, 0.0088, 0.0086]
    )
    field = np.minimum(field, trachea - 0.0007 * np.sin(grid.points[..., 1] * (2 * np.pi / 0.0075)))
    for a, b, ra, rb in _tree():
        box = grid.around(a, b, ra + 0.008)
        field[box] = join(field[box], capsule(grid.points[box], a, b, ra, rb), 0.0022)
    s = grid.surface(field, 6_500, soften=0.6)
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


def _tips(side: int, hilum: Floats, count: int = 30) -> list[Floats]:
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
    """Radius m of the segment that ends at each node: cubes add up at each fork, tips are 1.4 mm."""
    cube = np.zeros(len(parent))
    forks = set(parent)
    for i in range(len(parent) - 1, 0, -1):
        if i not in forks:
            cube[i] = 0.0015**3
        cube[parent[i]] += cube[i]
    return np.asarray(np.clip(cube ** (1 / 3), 0.0015, 0.0066))


# ----------------------------------------------------------------------------------------------------- brain

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
