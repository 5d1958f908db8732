"""Bakes `assets/avatar.glb`: body, masks, anchors and organs, from CC0 data. Build time only; the demo just serves it.

Order: shapes and pose (`body`), sensor regions (`regions`), organs (`organs`), file (`gltf`), then the outline for
browsers without WebGL (`outline`) and the NOTICE. The same inputs give the same bytes. Run from the project's root:

    python -m web.ui.avatar.bake
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from web.ui.avatar import body as bodies
from web.ui.avatar import gltf, notice, organs, outline, regions
from web.ui.avatar.body import Body
from web.ui.avatar.makehuman import Floats, Ints
from web.ui.avatar.notice import ASSETS

OUTLINE = Path("web/ui/src/twin/outline.js")
NAME = "avatar.glb"
MAX_BYTES = 2_600_000
_DENSITY_KG_M3 = 985  # of a human body, lungs half full; turns the mesh's volume into weight


def bake() -> tuple[bytes, str]:
    """The bytes of the avatar's file and the text of the flat outline's module."""
    body = bodies.build()
    normals = smooth_normals(body.vertices, body.faces)
    mask = regions.masks(body, normals)
    skin = gltf.Part(
        "body",
        body.vertices,
        normals,
        body.faces,
        body.morphs,
        {"_REGIONS0": mask[:, :4], "_REGIONS1": mask[:, 4:]},
        {"regions": list(regions.REGIONS), "frames": _frames(body), "density": _DENSITY_KG_M3},
    )
    extras = {"licence": "CC0-1.0", "source": "MakeHuman hm08 base mesh and targets; organs by Everbeat"}
    parts, places = organs.build(), regions.anchors(body, mask, normals)
    flat = outline.module(skin, mask, parts, places)
    return gltf.encode([skin, *parts], _anchors(body, places), extras), flat


def smooth_normals(vertices: Floats, faces: Ints) -> Floats:
    """Unit normals (N, 3), each the mean of its faces weighted by their area."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    out = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(out, faces[:, i], np.cross(b - a, c - a))
    return np.asarray(out / (np.linalg.norm(out, axis=1, keepdims=True) + 1e-12))


def _anchors(body: Body, places: list[regions.Anchor]) -> list[gltf.Anchor]:
    skin = [
        gltf.Anchor(f"anchor_{a.name}", body.vertices[a.vertex], {"vertex": a.vertex, "mirror": a.mirror})
        for a in places
    ]
    inside = {
        "heart": ([0.029, 1.262, 0.088], "thorax"),
        "lungs": ([-0.078, 1.345, 0.060], "thorax"),
        "brain": ([0.0, 1.690, 0.060], "skull"),
    }
    return skin + [
        gltf.Anchor(f"anchor_{name}", np.array(at), {"frame": frame}) for name, (at, frame) in inside.items()
    ]


def _frames(body: Body) -> dict[str, dict[str, list[int]]]:
    """Pairs of skin vertices that span a box on each axis; organs are fitted between them in other shapes."""
    v, arms = body.vertices, body.weight("upperarm01.L", "upperarm01.R")
    torso = np.flatnonzero(arms < 0.02)

    def nearest(point: list[float]) -> int:
        return int(torso[np.linalg.norm(v[torso] - point, axis=1).argmin()])

    return {
        "thorax": {
            "x": [nearest([-0.157, 1.26, 0.03]), nearest([0.157, 1.26, 0.03])],
            "y": [nearest([0.0, 1.10, 0.13]), nearest([0.0, 1.45, 0.08])],
            "z": [nearest([0.0, 1.30, -0.07]), nearest([0.0, 1.30, 0.125])],
        },
        "skull": {
            "x": [nearest([-0.074, 1.665, 0.04]), nearest([0.074, 1.665, 0.04])],
            "y": [nearest([0.0, 1.645, 0.15]), nearest([0.0, 1.735, 0.05])],
            "z": [nearest([0.0, 1.67, -0.05]), nearest([0.0, 1.67, 0.15])],
        },
    }


def main() -> None:
    """Writes the avatar, its NOTICE and the flat outline's module into the project."""
    data, flat = bake()
    if len(data) > MAX_BYTES:
        raise SystemExit(f"expected at most {MAX_BYTES} bytes, got {len(data)}; nothing was written")
    (ASSETS / NAME).write_bytes(data)
    OUTLINE.write_text(flat)
    (ASSETS / notice.NAME).write_text(notice.text(ASSETS))
    print(f"{ASSETS / NAME}: {len(data) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
