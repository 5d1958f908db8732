"""Writes a binary glTF 2.0 file with quantised attributes (KHR_mesh_quantization). Knows nothing about bodies.

Positions are u16 over the part's own box (the node's scale and translation put them back), morph deltas and normals
s16, masks u8, indices u16. Morphs that move few vertices are stored sparsely. The same input gives the same bytes.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from web.ui.avatar.makehuman import Floats, Ints

_UBYTE, _SHORT, _USHORT, _UINT = 5121, 5122, 5123, 5125
_SPARSE_BELOW = 0.45  # of the vertices
_ARRAY, _ELEMENTS = 34962, 34963


@dataclass(frozen=True)
class Part:
    """A named mesh: vertices and normals (N, 3), faces (F, 3), morphs (N, 3) m, masks (N, 4) in 0..1."""

    name: str
    vertices: Floats
    normals: Floats
    faces: Ints
    morphs: dict[str, Floats] = field(default_factory=dict)
    masks: dict[str, Floats] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Anchor:
    """An empty node at `position` (3,) m."""

    name: str
    position: Floats
    extras: dict[str, Any]


def encode(parts: list[Part], anchors: list[Anchor], extras: dict[str, Any]) -> bytes:
    """The file's bytes."""
    writer = _Writer()
    for part in parts:
        writer.part(part)
    nodes = writer.nodes + [
        {"name": a.name, "translation": [round(float(x), 5) for x in a.position], "extras": a.extras} for a in anchors
    ]
    document = {
        "asset": {"version": "2.0", "generator": "everbeat avatar bake", "copyright": "CC0-1.0", "extras": extras},
        "extensionsUsed": ["KHR_mesh_quantization"],
        "extensionsRequired": ["KHR_mesh_quantization"],
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes)))}],
        "nodes": nodes,
        "meshes": writer.meshes,
        "accessors": writer.accessors,
        "bufferViews": writer.views,
        "buffers": [{"byteLength": len(writer.buffer)}],
    }
    text = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-len(text) % 4)
    size = 12 + 8 + len(text) + 8 + len(writer.buffer)
    head = struct.pack("<4sII", b"glTF", 2, size) + struct.pack("<I4s", len(text), b"JSON")
    return head + text + struct.pack("<I4s", len(writer.buffer), b"BIN\0") + bytes(writer.buffer)


class _Writer:
    """Collects buffers, views, accessors, meshes and nodes."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.meshes: list[dict[str, Any]] = []
        self.nodes: list[dict[str, Any]] = []

    def part(self, part: Part) -> None:
        """Adds one mesh with the node that carries it."""
        low = part.vertices.min(0)
        scale = float((part.vertices.max(0) - low).max())
        unit = np.round((part.vertices - low) / scale * 65535).astype("<u2")
        attributes = {
            "POSITION": self._vectors(unit, _USHORT, bounds=True),
            "NORMAL": self._vectors(np.round(part.normals * 32767).astype("<i2"), _SHORT),
        }
        for name, mask in part.masks.items():
            attributes[name] = self._accessor(np.round(mask * 255).astype("u1"), _UBYTE, "VEC4", 4, _ARRAY)
        wide = len(part.vertices) > 65535
        faces = part.faces.astype("<u4" if wide else "<u2").reshape(-1, 1)
        indices = self._accessor(faces, _UINT if wide else _USHORT, "SCALAR", faces.itemsize, _ELEMENTS, plain=True)
        primitive: dict[str, Any] = {"attributes": attributes, "indices": indices}
        mesh: dict[str, Any] = {"name": part.name, "primitives": [primitive]}
        if part.morphs:
            primitive["targets"] = [{"POSITION": self._delta(m / scale)} for m in part.morphs.values()]
            mesh |= {"weights": [0] * len(part.morphs), "extras": {"targetNames": list(part.morphs)}}
        self.meshes.append(mesh)
        node = {"name": part.name, "mesh": len(self.meshes) - 1, "scale": [scale] * 3, "translation": low.tolist()}
        self.nodes.append(node | ({"extras": part.extras} if part.extras else {}))

    def _delta(self, delta: Floats) -> int:
        """A morph's displacement in units of the node's scale; sparse where it reaches few vertices."""
        counts = np.round(delta * 32767).astype("<i2")
        moved = np.flatnonzero(counts.any(axis=1))
        if not 0 < len(moved) < _SPARSE_BELOW * len(counts):
            return self._vectors(counts, _SHORT, bounds=True)
        self.accessors.append(
            {
                "componentType": _SHORT,
                "normalized": True,
                "count": len(counts),
                "type": "VEC3",
                "min": counts.min(0).tolist(),
                "max": counts.max(0).tolist(),
                "sparse": {
                    "count": len(moved),
                    "indices": {"bufferView": self._view(moved.astype("<u2").tobytes()), "componentType": _USHORT},
                    "values": {"bufferView": self._view(counts[moved].tobytes())},
                },
            }
        )
        return len(self.accessors) - 1

    def _vectors(self, counts: npt.NDArray[Any], component: int, bounds: bool = False) -> int:
        """(N, 3) 16-bit vectors; glTF wants each to start on a multiple of four bytes, so they are padded to eight."""
        padded = np.zeros((len(counts), 4), counts.dtype)
        padded[:, :3] = counts
        at = self._accessor(padded, component, "VEC3", 8, _ARRAY)
        if bounds:
            self.accessors[at] |= {"min": counts.min(0).tolist(), "max": counts.max(0).tolist()}
        return at

    def _accessor(
        self, values: npt.NDArray[Any], component: int, kind: str, stride: int, target: int, plain: bool = False
    ) -> int:
        view = self._view(values.tobytes(), {"target": target} | ({} if plain else {"byteStride": stride}))
        entry = {"bufferView": view, "componentType": component, "count": len(values), "type": kind}
        self.accessors.append(entry if plain else entry | {"normalized": True})
        return len(self.accessors) - 1

    def _view(self, data: bytes, more: dict[str, int] | None = None) -> int:
        self.buffer += b"\0" * (-len(self.buffer) % 4)
        self.views.append({"buffer": 0, "byteOffset": len(self.buffer), "byteLength": len(data)} | (more or {}))
        self.buffer += data
        self.buffer += b"\0" * (-len(self.buffer) % 4)
        return len(self.views) - 1
