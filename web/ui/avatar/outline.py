"""Draws the base body's front as flat outlines, for browsers without WebGL: one ES module of SVG path data.

Made from the very mesh that the viewer shows, so that both tell the same story. Units in the module: millimetres,
x to the viewer's right, y down from the crown, the body's middle at x = 0.
"""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
from skimage.draw import polygon
from skimage.measure import approximate_polygon, find_contours

from web.ui.avatar.gltf import Part
from web.ui.avatar.makehuman import Floats, Ints
from web.ui.avatar.regions import REGIONS, Anchor

_PIXEL_M = 0.0025
_TOLERANCE_PX = {"body": 0.45, "region": 0.35, "organ": 0.45}
_LEAST_PX = 8.0  # shorter contours are crumbs

Bitmap = npt.NDArray[np.float64]


def module(skin: Part, mask: Floats, organs: list[Part], anchors: list[Anchor]) -> str:
    """The text of `outline.js`."""
    canvas = _Canvas(skin.vertices)
    front = skin.faces[skin.normals[skin.faces].mean(1)[:, 2] > 0.05]
    outline = {
        "height": round(canvas.top * 1000),
        "body": canvas.path(skin.vertices, skin.faces, _TOLERANCE_PX["body"]),
        "regions": {
            name: canvas.path(skin.vertices, front[mask[front, i].mean(1) > 0.5], _TOLERANCE_PX["region"])
            for i, name in enumerate(REGIONS)
        },
        "organs": {
            p.name: canvas.path(p.vertices, p.faces, _TOLERANCE_PX["organ"])
            for p in organs
            if p.name in ("heart", "lung_l", "lung_r")
        },
        "anchors": {a.name: [canvas.place(skin.vertices[v]) for v in (a.vertex, a.mirror)] for a in anchors},
    }
    text = json.dumps(outline, separators=(",", ":"))
    return (
        "// Made by web/ui/avatar/bake.py from the avatar's own mesh (CC0-1.0); do not edit. Millimetres, y down.\n"
        "// Anchors: [the body's left, its right].\n"
        f"export const OUTLINE = {text};\n"
    )


class _Canvas:
    """A bitmap of the body's front."""

    def __init__(self, vertices: Floats) -> None:
        self.top = float(vertices[:, 1].max())
        self._half = float(np.abs(vertices[:, 0]).max()) + 0.02
        self._shape = (int((self.top + 0.04) / _PIXEL_M), int(2 * self._half / _PIXEL_M))

    def place(self, point: Floats) -> list[int]:
        """Millimetres of a point (3,) m."""
        return [round(float(point[0]) * 1000), round((self.top - float(point[1])) * 1000)]

    def path(self, vertices: Floats, faces: Ints, tolerance: float) -> str:
        """SVG path data of the outline of `faces` seen from the front."""
        bitmap: Bitmap = np.zeros(self._shape)
        columns = (vertices[:, 0] + self._half) / _PIXEL_M
        rows = (self.top + 0.02 - vertices[:, 1]) / _PIXEL_M
        for face in faces:
            bitmap[polygon(rows[face], columns[face], self._shape)] = 1
        parts = []
        for contour in find_contours(bitmap, 0.5):
            short = approximate_polygon(contour, tolerance)
            if len(short) < 4 or np.abs(np.diff(contour, axis=0)).sum() < _LEAST_PX:
                continue
            x = np.round((short[:, 1] * _PIXEL_M - self._half) * 1000).astype(int)
            y = np.round((short[:, 0] * _PIXEL_M - 0.02) * 1000).astype(int)
            parts.append("M" + "L".join(f"{a} {b}" for a, b in zip(x[:-1], y[:-1], strict=True)) + "Z")
        return "".join(parts)
