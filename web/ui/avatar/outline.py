"""Draws the base body's front as flat outlines, for browsers without WebGL: one ES module of SVG path data.

Made from the very mesh that the viewer shows, so that both tell the same story. Units in the module: millimetres,
x to the viewer's right, y down from the crown, the body's middle at x = 0.
"""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from skimage.draw import polygon
from skimage.measure import approximate_polygon, find_contours

from web.ui.avatar.gltf import Part
from web.ui.avatar.makehuman import Floats, Ints
from web.ui.avatar.regions import REGIONS, Anchor

_PIXEL_M = 0.0020
_TOLERANCE_PX = 0.35
_BLUR_PX = 1.1  # evens the steps of triangles and pixels
_FACE_Z_M, _FACE_Y_M = 0.105, 1.53  # the face lies before and above these
_CREASE = 0.80  # cosine between two faces at an eyelid or a lip
_LEAST_PX = 8.0  # shorter contours are crumbs

Bitmap = npt.NDArray[np.float64]


def module(skin: Part, mask: Floats, organs: list[Part], anchors: list[Anchor]) -> str:
    """The text of `outline.js`."""
    canvas = _Canvas(skin.vertices)
    facing = skin.normals[skin.faces].mean(1)[:, 2]
    front = skin.faces[facing > 0.05]
    outline = {
        "height": round(canvas.top * 1000),
        "body": canvas.path(skin.vertices, skin.faces),
        "shade": canvas.path(skin.vertices, *_nearest_last(skin, skin.faces[facing > 0], facing[facing > 0] < 0.62)),
        "face": canvas.creases(skin),
        "regions": {
            name: canvas.path(skin.vertices, front[mask[front, i].mean(1) > 0.5]) for i, name in enumerate(REGIONS)
        },
        "organs": {p.name: canvas.path(p.vertices, p.faces) for p in organs if p.name in ("heart", "lung_l", "lung_r")},
        "anchors": {a.name: [canvas.place(skin.vertices[v]) for v in (a.vertex, a.mirror)] for a in anchors},
    }
    text = json.dumps(outline, separators=(",", ":"))
    return (
        "// Made by web/ui/avatar/bake.py from the avatar's own mesh (CC0-1.0); do not edit. Millimetres, y down.\n"
        "// Anchors: [the body's left, its right].\n"
        f"export const OUTLINE = {text};\n"
    )


def _nearest_last(skin: Part, faces: Ints, steep: npt.NDArray[np.bool_]) -> tuple[Ints, Floats]:
    """Faces from back to front, and 1 where they are steep: what lies in front hides what lies behind."""
    order = np.argsort(skin.vertices[faces].mean(1)[:, 2], kind="stable")
    return faces[order], steep[order].astype(float)


class _Canvas:
    """A bitmap of the body's front."""

    def __init__(self, vertices: Floats) -> None:
        self.top = float(vertices[:, 1].max())
        self._half = float(np.abs(vertices[:, 0]).max()) + 0.02
        self._shape = (int((self.top + 0.04) / _PIXEL_M), int(2 * self._half / _PIXEL_M))

    def place(self, point: Floats) -> list[int]:
        """Millimetres of a point (3,) m."""
        return [round(float(point[0]) * 1000), round((self.top - float(point[1])) * 1000)]

    def path(self, vertices: Floats, faces: Ints, values: Floats | None = None) -> str:
        """SVG path data of what `faces` (F, 3) cover from the front. The last drawn wins; `values` (F,) of 0 clear."""
        bitmap: Bitmap = np.zeros(self._shape)
        columns = (vertices[:, 0] + self._half) / _PIXEL_M
        rows = (self.top + 0.02 - vertices[:, 1]) / _PIXEL_M
        for face, value in zip(faces, np.ones(len(faces)) if values is None else values, strict=True):
            bitmap[polygon(rows[face], columns[face], self._shape)] = value
        parts = []
        for contour in find_contours(gaussian_filter(bitmap, _BLUR_PX), 0.5):
            short = approximate_polygon(contour, _TOLERANCE_PX)
            if len(short) < 4 or np.abs(np.diff(contour, axis=0)).sum() < _LEAST_PX:
                continue
            x = np.round((short[:, 1] * _PIXEL_M - self._half) * 1000).astype(int)
            y = np.round((short[:, 0] * _PIXEL_M - 0.02) * 1000).astype(int)
            parts.append("M" + "L".join(f"{a} {b}" for a, b in zip(x[:-1], y[:-1], strict=True)) + "Z")
        return "".join(parts)

    def creases(self, skin: Part) -> str:
        """SVG path data of the face's sharp edges that look to the front: eyelids, nostrils, lips."""
        corners = skin.vertices[skin.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
        beside: dict[tuple[int, int], list[int]] = {}
        for f in np.flatnonzero((corners[:, :, 2].min(1) > _FACE_Z_M) & (corners[:, :, 1].min(1) > _FACE_Y_M)):
            for i in range(3):
                a, b = sorted((int(skin.faces[f, i]), int(skin.faces[f, (i + 1) % 3])))
                beside.setdefault((a, b), []).append(int(f))
        parts = []
        for (a, b), pair in beside.items():
            if len(pair) == 2 and normals[pair[0]] @ normals[pair[1]] < _CREASE and normals[pair, 2].max() > 0.2:
                (x0, y0), (x1, y1) = (self.place(skin.vertices[v]) for v in (a, b))
                parts.append(f"M{x0} {y0}L{x1} {y1}")
        return "".join(sorted(set(parts)))
