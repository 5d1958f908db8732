"""Signed-distance fields and their surfaces: the clay from which the organs are made. Metres, negative inside.

Shapes are combined on a regular grid; marching cubes finds the surface, quadric decimation thins it to what a small
picture needs. Normals come from the field's gradient, not from the triangles, so no seam of the grid shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import fast_simplification
import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.measure import marching_cubes

from web.ui.avatar.makehuman import Floats, Ints

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Surface:
    """Vertices and unit normals (N, 3), faces (F, 3)."""

    vertices: Floats
    normals: Floats
    faces: Ints


class Grid:
    """Points of a box at even steps; fields over it are arrays of its shape."""

    def __init__(self, low: Point, high: Point, step_m: float) -> None:
        self.low, self.step_m = np.asarray(low, float), step_m
        self._axes = [np.arange(a, b + step_m, step_m) for a, b in zip(low, high, strict=True)]
        self.points = np.stack(np.meshgrid(*self._axes, indexing="ij"), axis=-1)  # (X, Y, Z, 3)

    def around(self, a: Point, b: Point, margin_m: float) -> tuple[slice, slice, slice]:
        """Where the box about `a` and `b` lies in the grid, `margin_m` wider on each side."""
        pair = np.sort(np.stack([np.asarray(a, float), np.asarray(b, float)]), axis=0)
        first = np.floor((pair[0] - margin_m - self.low) / self.step_m).astype(int)
        last = np.ceil((pair[1] + margin_m - self.low) / self.step_m).astype(int) + 1
        x, y, z = (
            slice(max(int(f), 0), max(min(int(e), len(axis)), 0))
            for f, e, axis in zip(first, last, self._axes, strict=True)
        )
        return x, y, z

    def sample(self, values: Floats, at: Floats) -> Floats:
        """`values` on the grid, read at points (N, 3) in between."""
        return np.asarray(map_coordinates(values, ((at - self.low) / self.step_m).T, order=1, mode="nearest"))

    def surface(self, distance: Floats, faces: int, soften: float = 0.8) -> Surface:
        """The zero level of `distance`, blurred by `soften` grid steps, in about `faces` triangles."""
        field = gaussian_filter(distance, soften) if soften else distance
        fine, triangles, _, _ = marching_cubes(field, 0.0, spacing=(self.step_m,) * 3, gradient_direction="ascent")
        points, kept = fast_simplification.simplify(fine.astype(np.float32), triangles, target_count=faces)
        vertices = points.astype(np.float64) + self.low
        slopes: list[Floats] = [np.asarray(g) for g in np.gradient(field, self.step_m)]
        for _ in range(3):  # thinning leaves vertices beside the surface: Newton's steps lead them back
            slope = np.stack([self.sample(g, vertices) for g in slopes], axis=1)
            steep = np.maximum((slope**2).sum(1, keepdims=True), 0.05)
            step = self.sample(field, vertices)[:, None] * slope / steep
            vertices -= np.clip(step, -self.step_m / 2, self.step_m / 2)
        slope = np.stack([self.sample(g, vertices) for g in slopes], axis=1)
        normals = slope / (np.linalg.norm(slope, axis=1, keepdims=True) + 1e-12)
        a, b, c = (vertices[kept[:, i]] for i in range(3))
        outward = (np.cross(b - a, c - a) * normals[kept[:, 0]]).sum() > 0
        return Surface(vertices, normals, kept if outward else kept[:, ::-1])


def ellipsoid(p: Floats, centre: Point, radii: Point) -> Floats:
    """Close to the distance of an ellipsoid (exact on its surface)."""
    q = (p - np.asarray(centre)) / np.asarray(radii)
    near = np.linalg.norm(q, axis=-1)
    return np.asarray(near * (near - 1) / (np.linalg.norm(q / np.asarray(radii), axis=-1) + 1e-9))


def capsule(p: Floats, a: Point, b: Point, radius_a: float, radius_b: float) -> Floats:
    """Distance of a round cone from `a` to `b`."""
    start, along = np.asarray(a, float), np.asarray(b, float) - np.asarray(a, float)
    t = np.clip(((p - start) @ along) / (along @ along), 0, 1)
    return np.asarray(
        np.linalg.norm(p - start - t[..., None] * along, axis=-1) - (radius_a + (radius_b - radius_a) * t)
    )


def tube(p: Floats, path: list[Point], radii: list[float]) -> Floats:
    """Distance of a bent tube: round cones along a smooth curve through `path`."""
    points, widths = curve(path, radii)
    parts = [
        capsule(p, tuple(a), tuple(b), ra, rb)
        for a, b, ra, rb in zip(points, points[1:], widths, widths[1:], strict=False)
    ]
    return np.asarray(np.min(parts, axis=0))


def curve(path: list[Point], radii: list[float], steps: int = 4) -> tuple[Floats, Floats]:
    """Catmull-Rom points (M, 3) through `path` and the radius at each."""
    knots = np.array([path[0], *path, path[-1]], float)
    points: list[Floats] = []
    widths: list[float] = []
    for i in range(len(path) - 1):
        p0, p1, p2, p3 = knots[i : i + 4]
        for t in np.arange(steps) / steps:
            points.append(
                0.5
                * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * (p1 - p2) + p3 - p0) * t**3)
            )
            widths.append(radii[i] + (radii[i + 1] - radii[i]) * t)
    return np.array([*points, knots[-1]]), np.array([*widths, radii[-1]])


def join(a: Floats, b: Floats, width_m: float) -> Floats:
    """Union with a soft seam (polynomial smooth minimum, I. Quilez)."""
    h = np.clip(0.5 + 0.5 * (b - a) / width_m, 0, 1)
    return np.asarray(b + (a - b) * h - width_m * h * (1 - h))


def cut(a: Floats, tool: Floats, width_m: float) -> Floats:
    """`a` without `tool`, the edge rounded."""
    return -join(-a, tool, width_m)


def ridge(x: Floats, width_m: float) -> Floats:
    """1 at x = 0, falling as a bell of that width."""
    return np.asarray(np.exp(-((x / width_m) ** 2)))
