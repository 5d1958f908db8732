"""Where sensors sit: a soft mask a region over the body's vertices, and the anchor that its label points to.

Masks follow the rig's weights and the face's own shape targets, so they keep their place in every shape. They are
packed as two RGBA attributes: `_REGIONS0` = cheek, brow, forearm, palm; `_REGIONS1` = wrist, finger, chest, head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from web.ui.avatar import makehuman as mh
from web.ui.avatar.body import Body
from web.ui.avatar.makehuman import Floats

REGIONS = ("cheek", "brow", "forearm", "palm", "wrist", "finger", "chest", "head")
_SIDES = (("L", 1.0), ("R", -1.0))


@dataclass(frozen=True)
class Anchor:
    """A vertex on the skin and its twin on the other side; the label takes whichever is nearer."""

    name: str
    vertex: int
    mirror: int


def masks(body: Body, normals: Floats) -> Floats:
    """(N, 8) in 0..1, columns in the order of REGIONS. `normals` (N, 3) are unit, of the base shape."""
    wrist = _wrist(body)
    lower = body.only("lowerarm01.L", "lowerarm02.L", "lowerarm01.R", "lowerarm02.R")
    fingers = body.weight(*[f"finger{i}-1.{s}" for i in range(1, 6) for s, _ in _SIDES])
    hand = body.weight("wrist.L", "wrist.R")
    tip = body.weight("finger2-2.L", "finger2-2.R")
    face = {"cheek": _cheek(body), "brow": _brow(body)}
    head = body.weight("head") * _ramp(body.vertices[:, 1], body.joints["head"][1] - 0.02, body.joints["head"][1])
    columns = {
        **face,
        "forearm": _ramp(lower, 0.35, 0.75) * (1 - wrist) * (1 - _ramp(hand, 0.05, 0.3)),
        "palm": _ramp(hand - 0.7 * fingers, 0.3, 0.9) * _palmar(body, normals) * (1 - wrist),
        "wrist": wrist,
        "finger": _ramp(tip, 0.3, 0.8),
        "chest": _chest(body, normals),
        "head": head * (1 - np.maximum(face["cheek"], face["brow"])),
    }
    stacked = _even(np.stack([columns[name] for name in REGIONS], axis=1).clip(0, 1), body.quads)
    number = np.full(mh.VERTICES, -1)
    number[body.kept] = np.arange(len(body.kept))
    other = number[mh.mirror()[body.kept]]
    return np.asarray((stacked + stacked[other]) / 2)


def anchors(body: Body, mask: Floats, normals: Floats) -> list[Anchor]:
    """A label's anchor for each region: the front-most well-covered vertex near the mask's middle, on the left."""
    number = np.full(mh.VERTICES, -1)
    number[body.kept] = np.arange(len(body.kept))
    found = []
    for i, name in enumerate(REGIONS):
        left = (mask[:, i] > 0.6) & (body.vertices[:, 0] > (0.004 if name not in ("chest", "head") else -1e-6))
        inside = np.flatnonzero(left)
        middle = np.average(body.vertices[inside], axis=0, weights=mask[inside, i])
        if name == "chest":
            middle = np.array([0.0, body.joints["spine01"][1] + 0.02, 0.12])
        distance = np.linalg.norm(body.vertices[inside] - middle, axis=1) - 0.02 * normals[inside, 2]
        vertex = int(inside[distance.argmin()])
        found.append(Anchor(name, vertex, int(number[mh.mirror()[body.kept[vertex]]])))
    return found


def _even(mask: Floats, quads: mh.Ints, rounds: int = 2) -> Floats:
    """Masks averaged with their neighbours', so that the border drawn at one half runs smoothly between vertices."""
    edges = np.concatenate([quads[:, [i, (i + 1) % 4]] for i in range(4)])
    edges = np.concatenate([edges, edges[:, ::-1]])
    count = np.bincount(edges[:, 0], minlength=len(mask))[:, None]
    for _ in range(rounds):
        total = np.zeros_like(mask)
        np.add.at(total, edges[:, 0], mask[edges[:, 1]])
        mask = 0.5 * mask + 0.5 * total / np.maximum(count, 1)
    return mask


def _ramp(x: Floats, low: float, high: float) -> Floats:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _wrist(body: Body) -> Floats:
    """A band, 4.5 cm wide, where a watch is worn."""
    out = np.zeros(len(body.vertices))
    for side, _ in _SIDES:
        elbow, wrist = body.joints[f"lowerarm01.{side}"], body.joints[f"wrist.{side}"]
        axis = (elbow - wrist) / np.linalg.norm(elbow - wrist)
        along = (body.vertices - wrist) @ axis  # m from the wrist joint towards the elbow
        band = _ramp(along, -0.008, 0.002) * (1 - _ramp(along, 0.037, 0.047))
        out = np.maximum(out, band * _ramp(body.weight(f"lowerarm01.{side}"), 0.2, 0.6))
    return out


def _palmar(body: Body, normals: Floats) -> Floats:
    """1 where a hand's surface faces the palm's side."""
    out = np.zeros(len(body.vertices))
    for side, sign in _SIDES:
        root, index, little = (body.joints[f"{b}.{side}"] for b in ("wrist", "finger2-1", "finger5-1"))
        palm = np.cross(index - root, little - root) * -sign
        facing = normals @ (palm / np.linalg.norm(palm))
        out = np.maximum(out, _ramp(facing, -0.5, 0.5) * (body.vertices[:, 0] * sign > 0))
    return out


def _chest(body: Body, normals: Floats) -> Floats:
    """A rounded field over the front of the rib cage, where chest electrodes and a breathing belt sit."""
    middle = body.joints["spine01"][1] + 0.015
    x, y = body.vertices[:, 0] / 0.128, (body.vertices[:, 1] - middle) / 0.105
    arms = body.weight("upperarm01.L", "upperarm01.R")
    round_field = 1 - _ramp((np.abs(x) ** 2.6 + np.abs(y) ** 2.6) ** (1 / 2.6), 0.85, 1.15)
    return np.asarray(round_field * _ramp(normals[:, 2], -0.1, 0.25) * (1 - arms))


def _brow(body: Body) -> Floats:
    """Corrugator supercilii: above the inner half of each brow."""
    apart = _ramp(np.abs(body.vertices[:, 0]), 0.001, 0.009)  # the muscle of each side for itself
    return _along(body, "brow", 0.0105, 0.0085) * apart


def _cheek(body: Body) -> Floats:
    """Zygomaticus major: from the corner of the mouth up to the cheekbone."""
    return _along(body, "cheek", 0.0075, 0.0110)


def _along(body: Body, muscle: str, start_m: float, end_m: float) -> Floats:
    """1 on the skin along the muscle's line; its half width goes from `start_m` to `end_m`."""
    start, end = muscle_line(body, muscle)
    out = np.zeros(len(body.vertices))
    for _, sign in _SIDES:
        a, b = start * [sign, 1, 1], end * [sign, 1, 1]
        t = np.clip((body.vertices - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        away = np.linalg.norm(body.vertices - a - t[:, None] * (b - a), axis=1)
        out = np.maximum(out, 1 - _ramp(away / (start_m + (end_m - start_m) * t), 0.3, 1.9))
    return out


def muscle_line(body: Body, muscle: str) -> tuple[Floats, Floats]:
    """Ends (3,) m of a facial muscle on the left, taken from where the expression targets move the face most."""
    eye = body.joints["eye.L"]
    if muscle == "brow":
        moved = np.linalg.norm(body.morphs["corrugator"], axis=1) * (body.vertices[:, 0] > 0.006)
        inner = np.average(body.vertices, axis=0, weights=moved**4)
        depth = inner[2]
        return np.array([0.010, inner[1] - 0.001, depth]), np.array([eye[0] + 0.001, inner[1] + 0.005, depth - 0.003])
    moved = np.linalg.norm(body.morphs["zygomaticus"], axis=1) * (body.vertices[:, 0] > 0.01)
    corner = np.average(body.vertices, axis=0, weights=moved**6)
    bone = np.array([eye[0] + 0.016, eye[1] - 0.026, eye[2] + 0.004])
    return corner + np.array([0.008, 0.004, 0.0]), bone
