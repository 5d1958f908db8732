"""The baked body: it parses, has every part that the viewer asks for, and is what its NOTICE says it is."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "assets"
REGIONS = ("cheek", "brow", "forearm", "palm", "wrist", "finger", "chest", "head")
SHAPES = {"female", "baby"} | {
    f"{n}{s}" for n in ("old", "child", "light", "heavy", "tall", "short") for s in ("", "_female")
}
_TYPES = {5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4"}
_WIDTH = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


class Glb:
    """A glTF 2.0 file read by the specification, not by the code that wrote it."""

    def __init__(self, data: bytes) -> None:
        magic, version, size = struct.unpack_from("<4sII", data)
        assert (magic, version, size) == (b"glTF", 2, len(data))
        length, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        self.json: dict[str, Any] = json.loads(data[20 : 20 + length])
        _, kind = struct.unpack_from("<I4s", data, 20 + length)
        assert kind == b"BIN\0"
        self.binary = data[28 + length :]

    def accessor(self, number: int) -> npt.NDArray[Any]:
        """(N, width) raw integers."""
        a = self.json["accessors"][number]
        dtype, width = np.dtype(_TYPES[a["componentType"]]), _WIDTH[a["type"]]
        if "sparse" in a:
            out = np.zeros((a["count"], width), dtype)
            sparse, at = a["sparse"], a["sparse"]["indices"]
            count = sparse["count"]
            rows = np.frombuffer(self.view(at["bufferView"]), _TYPES[at["componentType"]], count)
            values = np.frombuffer(self.view(sparse["values"]["bufferView"]), dtype, count * width)
            out[rows] = values.reshape(count, width)
            return out
        view = self.json["bufferViews"][a["bufferView"]]
        step = view.get("byteStride", dtype.itemsize * width)
        raw = np.frombuffer(self.view(a["bufferView"]), "u1").reshape(a["count"], step)
        return np.ascontiguousarray(raw[:, : dtype.itemsize * width]).view(dtype)

    def view(self, number: int) -> bytes:
        view = self.json["bufferViews"][number]
        return self.binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]

    def mesh(self, name: str) -> dict[str, Any]:
        return next(m for m in self.json["meshes"] if m["name"] == name)

    def node(self, name: str) -> dict[str, Any]:
        return next(n for n in self.json["nodes"] if n["name"] == name)

    def attribute(self, name: str, attribute: str) -> npt.NDArray[Any]:
        return self.accessor(self.mesh(name)["primitives"][0]["attributes"][attribute])

    def positions(self, name: str) -> npt.NDArray[np.float64]:
        """(N, 3) m."""
        node = self.node(name)
        return self.attribute(name, "POSITION") / 65535 * node["scale"][0] + np.array(node["translation"])


@pytest.fixture(scope="module")
def glb() -> Glb:
    return Glb((ASSETS / "avatar.glb").read_bytes())


def masks(glb: Glb) -> npt.NDArray[np.float64]:
    """(N, 8) 0..1."""
    return np.concatenate([glb.attribute("body", f"_REGIONS{i}") for i in (0, 1)], axis=1) / 255


def test_the_file_is_small_enough_to_send() -> None:
    assert (ASSETS / "avatar.glb").stat().st_size < 2_600_000


def test_every_part_is_there_with_normals_of_length_one(glb: Glb) -> None:
    for name in ("body", "heart", "lung_l", "lung_r", "brain", "airways"):
        lengths = np.linalg.norm(glb.attribute(name, "NORMAL") / 32767, axis=1)
        assert (np.abs(lengths - 1) < 1e-3).mean() > 0.999, name


def test_faces_name_vertices_that_exist_and_the_bodies_are_turned_outwards(glb: Glb) -> None:
    for mesh in glb.json["meshes"]:
        faces = glb.accessor(mesh["primitives"][0]["indices"]).reshape(-1, 3).astype(int)
        points = glb.positions(mesh["name"])
        assert faces.max() < len(points)
        a, b, c = (points[faces[:, i]] for i in range(3))
        assert (np.cross(a, b) * c).sum() > 0, f"{mesh['name']} is inside out"


def test_the_body_carries_the_shapes_and_motions_that_the_viewer_asks_for(glb: Glb) -> None:
    names = set(glb.mesh("body")["extras"]["targetNames"])
    assert names == SHAPES | {"breath", "zygomaticus", "corrugator"}
    assert glb.mesh("heart")["extras"]["targetNames"] == ["systole"]
    for lung in ("lung_l", "lung_r", "airways"):
        assert glb.mesh(lung)["extras"]["targetNames"] == ["inhale"]


def test_every_morph_moves_something(glb: Glb) -> None:
    for mesh in glb.json["meshes"]:
        for name, t in zip(
            mesh.get("extras", {}).get("targetNames", []), mesh["primitives"][0].get("targets", []), strict=True
        ):
            assert glb.accessor(t["POSITION"]).any(), f"{mesh['name']}.{name}"


def test_each_region_covers_skin_and_the_face_is_told_apart(glb: Glb) -> None:
    assert glb.node("body")["extras"]["regions"] == list(REGIONS)
    mask = masks(glb)
    for i, name in enumerate(REGIONS):
        assert (mask[:, i] > 0.5).sum() >= 20, name
    assert not ((mask[:, 0] > 0.5) & (mask[:, 1] > 0.5)).any(), "cheek and brow must not overlap"
    height = glb.positions("body")[:, 1]
    assert height[mask[:, 1] > 0.5].min() > height[mask[:, 0] > 0.5].max() - 0.02, "the brow is above the cheek"


def test_the_body_is_symmetrical_stands_on_the_floor_and_is_of_human_height(glb: Glb) -> None:
    points = glb.positions("body")
    assert abs(points[:, 1].min()) < 1e-3
    assert 1.65 < points[:, 1].max() < 1.85
    grid = {tuple(p) for p in np.round(points / 0.002).astype(int)}
    mirrored = {tuple(p) for p in np.round(points * [-1, 1, 1] / 0.002).astype(int)}
    near = {(x + i, y + j, z + k) for x, y, z in grid for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)}
    assert mirrored <= near


def test_labels_have_anchors_on_the_skin_of_their_region_and_in_the_organs(glb: Glb) -> None:
    points, mask = glb.positions("body"), masks(glb)
    for i, name in enumerate(REGIONS):
        node = glb.node(f"anchor_{name}")
        left, right = node["extras"]["vertex"], node["extras"]["mirror"]
        assert np.linalg.norm(points[left] - node["translation"]) < 1e-3, name
        assert np.linalg.norm(points[right] * [-1, 1, 1] - points[left]) < 1e-3, name
        assert mask[left, i] > 0.5, name
    for name, organ in (("heart", "heart"), ("lungs", "lung_r"), ("brain", "brain")):
        at = np.array(glb.node(f"anchor_{name}")["translation"])
        assert np.linalg.norm(glb.positions(organ) - at, axis=1).min() < 0.04, name


def test_the_organs_lie_inside_the_body(glb: Glb) -> None:
    skin = glb.positions("body")
    for organ in ("heart", "lung_l", "lung_r", "brain"):
        points = glb.positions(organ)
        around = skin[(skin[:, 1] > points[:, 1].min() - 0.02) & (skin[:, 1] < points[:, 1].max() + 0.02)]
        assert (points.min(0) > around.min(0)).all(), organ
        assert (points.max(0) < around.max(0)).all(), organ


def test_the_heart_lies_to_the_left_and_the_right_lung_is_on_the_right(glb: Glb) -> None:
    assert glb.positions("heart")[:, 0].max() > -glb.positions("heart")[:, 0].min()
    assert glb.positions("lung_r")[:, 0].max() < 0 < glb.positions("lung_l")[:, 0].min()


def test_two_thirds_of_the_heart_lie_left_of_the_midline_and_its_apex_points_left_down_and_forward(glb: Glb) -> None:
    muscle = glb.positions("heart")[(glb.attribute("heart", "_TISSUE")[:, :2].sum(1) / 255) > 0.6]
    assert 0.58 < (muscle[:, 0] > 0).mean() < 0.75
    apex = muscle[(muscle @ [0.67, -0.60, 0.44]).argmax()]
    assert (np.sign(apex - muscle.mean(0)) == [1, -1, 1]).all(), apex


def test_the_airways_fork_at_the_carina_and_no_twig_floats(glb: Glb) -> None:
    faces = glb.accessor(glb.mesh("airways")["primitives"][0]["indices"]).reshape(-1, 3).astype(int)
    group = np.arange(len(glb.positions("airways")))
    while True:  # each vertex takes the least number among its faces' corners, until nothing changes
        least = group.copy()
        for corner in range(3):
            np.minimum.at(least, faces[:, corner], group[faces].min(1))
        if (least == group).all():
            break
        group = least[least]
    assert np.bincount(group[faces[:, 0]]).max() > 0.93 * len(faces), "most of it is one piece"
    x, y = glb.positions("airways")[:, 0], glb.positions("airways")[:, 1]
    assert np.ptp(x[y > 1.485]) < 0.030, "one tube above the lungs"
    assert not (np.abs(x[(y > 1.31) & (y < 1.34)]) < 0.006).any(), "below the fork none in the middle"


def test_the_notice_names_every_file_of_the_assets_with_its_true_hash() -> None:
    from web.ui.avatar import notice  # here: the rest of this file reads the assets without our own code

    files = {
        p.relative_to(ASSETS).as_posix() for p in ASSETS.rglob("*") if p.is_file() and not p.name.startswith("NOTICE")
    }
    assert files == {row.path for row in notice.ROWS}
    assert (ASSETS / notice.NAME).read_text() == notice.text(ASSETS)
    digest = hashlib.sha256((ASSETS / "avatar.glb").read_bytes()).hexdigest()
    assert digest in (ASSETS / notice.NAME).read_text()


def test_baking_again_gives_the_same_body(glb: Glb) -> None:
    """The same bytes on the same libraries; elsewhere the last bit of a sine may differ, so one count is forgiven."""
    for package in ("anny", "skimage", "fast_simplification"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package} (extra `bake`); the committed body was not baked again")
    from web.ui.avatar import bake

    data, outline = bake.bake()
    assert bake.OUTLINE.name == "outline.js"
    assert outline == (ROOT / bake.OUTLINE).read_text()
    if data == (ASSETS / "avatar.glb").read_bytes():
        return
    again = Glb(data)
    assert again.json["meshes"] == glb.json["meshes"]
    for i, accessor in enumerate(glb.json["accessors"]):
        old, new = glb.accessor(i).astype(int), again.accessor(i).astype(int)
        assert np.abs(old - new).max() <= 1, accessor
