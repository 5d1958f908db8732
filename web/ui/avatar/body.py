"""The patient's body: corners of the shape space, the anatomical pose, a modest surface, breath and face morphs.

The base mesh is a young man of average weight and stature; the morph `female` leads to a young woman. From each of the
two, morphs lead to old, child, light, heavy, tall and short (for the woman with the suffix `_female`), and add up; one
`baby` for both leads from the man. All are posed, smoothed and made symmetric alike, so any mixture stays a decent
body. Output: metres, feet on y = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from web.ui.avatar import makehuman as mh
from web.ui.avatar.makehuman import Floats, Ints, Rig

_AVERAGE, _LIGHT, _HEAVY = (  # only little muscle lets the weight targets reach far
    ("averagemuscle", "averageweight"),
    ("minmuscle", "minweight"),
    ("minmuscle", "maxweight"),
)
_CORNERS = {
    "old": ("old", *_AVERAGE),
    "child": ("child", *_AVERAGE),
    "light": ("young", *_LIGHT),
    "heavy": ("young", *_HEAVY),
}
_STATURES = {"tall": "maxheight", "short": "minheight"}
_SEXES = {"male": "", "female": "_female"}  # suffix of a morph's name

_SIDES = (("L", 1.0), ("R", -1.0))
# directions of the left upper arm, forearm and hand; with the palms to the front: the anatomical position
_ARM_AIMS = ((0.42, -0.90, -0.03), (0.36, -0.92, 0.16), (0.22, -0.96, 0.10))
_TWIST_DEG = -70.0
_LEG_IN_DEG = 4.5
_STATURE = 0.4  # of the target, which alone would make giants of 2.5 m
_DM = 0.1  # metres
_SMOOTHING_ROUNDS = 16


@dataclass(frozen=True)
class Body:
    """Vertices (N, 3) m and morphs (N, 3) m of the body's own vertices; `kept` are their numbers in the base mesh."""

    vertices: Floats
    faces: Ints  # (F, 3)
    quads: Ints  # (Q, 4)
    kept: Ints  # (N,)
    morphs: dict[str, Floats]
    joints: dict[str, Floats]  # m, of the base corner
    rig: Rig

    def weight(self, *roots: str) -> Floats:
        """(N,) how far each vertex follows the bones hanging from `roots`."""
        bones = set[str]().union(*(self.rig.below(root) for root in roots))
        return np.asarray(self.rig.weight(bones)[self.kept])

    def only(self, *bones: str) -> Floats:
        """(N,) how far each vertex follows exactly these bones."""
        return np.asarray(self.rig.weight(set(bones))[self.kept])


def build() -> Body:
    """The posed body with all its morphs."""
    mesh, rig = mh.load_mesh(), Rig()
    quads = np.concatenate([mesh.quads["body"], mesh.quads["helper-l-eye"], mesh.quads["helper-r-eye"]])
    surface = _Modesty(mesh, rig)
    raw = {name: mh.symmetric(mesh.vertices + mh.person(sex, "young", *_AVERAGE)) for sex, name in _SEXES.items()}
    base = _grounded(surface.smooth(pose(raw[""], rig)))
    morphs: dict[str, Floats] = {}
    for sex, suffix in _SEXES.items():
        start = _grounded(surface.smooth(pose(raw[suffix], rig)))
        if suffix:
            morphs[sex] = start - base
        for name, shape in _shapes(sex, mesh.vertices, raw[suffix]).items():
            morphs[name + suffix] = _grounded(surface.smooth(pose(mh.symmetric(shape), rig))) - start
    baby = np.mean([mesh.vertices + mh.person(sex, "baby", *_AVERAGE) for sex in _SEXES], axis=0)  # one serves both
    morphs["baby"] = _grounded(surface.smooth(pose(mh.symmetric(baby), rig))) - base
    for name, delta in _motions().items():
        moved = pose(raw[""] + mh.symmetric(delta), rig) - pose(raw[""], rig)
        morphs[name] = mh.symmetric(moved) * _DM
    kept = np.unique(quads)
    number = np.full(mh.VERTICES, -1)
    number[kept] = np.arange(len(kept))
    q = number[quads]
    faces = np.concatenate([q[:, [0, 1, 2]], q[:, [0, 2, 3]]], axis=1).reshape(-1, 3)  # a quad's triangles in a row
    return Body(base[kept], faces, q, kept, {n: m[kept] for n, m in morphs.items()}, _joints(base, rig), rig)


def _shapes(sex: str, neutral: Floats, start: Floats) -> dict[str, Floats]:
    """Unposed shapes (V, 3) dm: ages and weights of that sex, and statures about its average adult `start`."""
    shapes = {name: neutral + mh.person(sex, *corner) for name, corner in _CORNERS.items()}
    return shapes | {name: start + _STATURE * mh.stature(sex, which) for name, which in _STATURES.items()}


def _motions() -> dict[str, Floats]:
    """Displacements dm at full weight: a deep breath and the two facial muscles that EMG is often measured on.

    The eyes never blink: nobody measures that, and a blink would say that the patient is awake.
    """
    breath = (
        0.26 * mh.target("torso/measure-bust-circ-incr")
        + 0.30 * mh.target("torso/measure-underbust-circ-incr")
        + 0.12 * mh.target("torso/torso-scale-depth-incr")
    )
    return {
        "breath": breath,
        "zygomaticus": 0.7 * mh.expression("mouth-corner-puller"),
        "corrugator": 0.8 * mh.expression("eyebrows-left-down", "eyebrows-right-down"),
    }


def _joints(base: Floats, rig: Rig) -> dict[str, Floats]:
    names = ["head", "neck01", "spine01", "spine02", "spine03", "root", "eye.L", "jaw", "upperleg01.L"]
    names += [f"{b}.{s}" for b in ("upperarm01", "lowerarm01", "lowerarm02", "wrist") for s in "LR"]
    names += [f"finger{i}-{j}.{s}" for i in range(1, 6) for j in (1, 2, 3) for s in "LR"]
    return {name: rig.joint(name, base) for name in names}


def _grounded(vertices: Floats) -> Floats:
    """Metres, soles on y = 0. Only the body's own vertices decide (helpers hang lower)."""
    shape = mh.symmetric(vertices) * _DM  # the rig's weights are not quite the same on both sides
    shape[:, 1] -= shape[:13380, 1].min()
    return np.asarray(shape)


# ------------------------------------------------------------------------------------------------------ pose


def pose(vertices: Floats, rig: Rig) -> Floats:
    """The shape (V, 3) dm in the anatomical position, by linear blend skinning with the standard rig."""
    out = vertices.copy()
    for side, sign in _SIDES:
        out = _pose_arm(out, rig, side, sign)
        hip = rig.joint(f"upperleg01.{side}", out)
        out = _bend(out, rig, f"upperleg01.{side}", _about(hip, (0, 0, 1), -sign * _LEG_IN_DEG))
        ankle = rig.joint(f"foot.{side}", out)
        out = _bend(out, rig, f"foot.{side}", _about(ankle, (0, 0, 1), sign * _LEG_IN_DEG))
    return out


def _pose_arm(out: Floats, rig: Rig, side: str, sign: float) -> Floats:
    """Upper arm, forearm and hand each led to their direction, then the forearm turned until the palm faces front."""
    chain = [f"{bone}.{side}" for bone in ("upperarm01", "lowerarm01", "wrist", "finger3-1")]
    for bone, towards, aim in zip(chain, chain[1:], _ARM_AIMS, strict=False):
        here = rig.joint(bone, out)
        out = _bend(out, rig, bone, _lead(here, rig.joint(towards, out) - here, np.array(aim) * [sign, 1, 1]))
    elbow, wrist = rig.joint(chain[1], out), rig.joint(chain[2], out)
    shoulder = rig.joint(chain[0], out)
    turns = (
        ("upperarm02", elbow, elbow - shoulder, 0.20),
        ("lowerarm01", wrist, wrist - elbow, 0.26),
        ("lowerarm02", wrist, wrist - elbow, 0.32),
        ("wrist", wrist, wrist - elbow, 0.22),
    )
    for bone, point, axis, share in turns:
        out = _bend(out, rig, f"{bone}.{side}", _about(point, axis, sign * _TWIST_DEG * share))
    return out


def _bend(vertices: Floats, rig: Rig, bone: str, transform: Floats) -> Floats:
    """Moves everything below `bone`; joints, being vertices of the helpers, come along."""
    weight = rig.weight(rig.below(bone))[:, None]
    moved = vertices @ transform[:3, :3].T + transform[:3, 3]
    return np.asarray(vertices + weight * (moved - vertices))


def _lead(point: Floats, now: Floats, aim: Floats) -> Floats:
    """Affine (4, 4): the smallest turn about `point` that brings direction `now` to `aim`."""
    axis = np.cross(now, aim)
    angle = np.degrees(np.arctan2(np.linalg.norm(axis), now @ aim))
    return _about(point, axis, float(angle)) if angle > 1e-6 else np.eye(4)


def _about(point: Floats, axis: Floats | tuple[float, ...], degrees: float) -> Floats:
    """Affine (4, 4): turn by `degrees` about an axis through `point` (Rodrigues' formula)."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:3, :3] = np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k
    turn[:3, 3] = point - turn[:3, :3] @ point
    return turn


# --------------------------------------------------------------------------------------------------- modesty


class _Modesty:
    """Smooths the tips of the chest and the groin as a mannequin has them, on the body's own quads."""

    def __init__(self, mesh: mh.Mesh, rig: Rig) -> None:
        self._rig = rig
        neighbours: list[set[int]] = [set() for _ in range(mh.VERTICES)]
        for quad in mesh.quads["body"]:
            for i in range(4):
                neighbours[quad[i]].update((int(quad[(i + 1) % 4]), int(quad[i - 1])))
        width = max(len(n) for n in neighbours)
        self._count = np.array([max(len(n), 1) for n in neighbours])
        self._table = np.array([sorted(n) + [mh.VERTICES] * (width - len(n)) for n in neighbours])
        self._inner = np.array([len(n) > 2 for n in neighbours])

    def smooth(self, vertices: Floats) -> Floats:
        """The shape (V, 3) dm with those places evened out."""
        where = self._where(vertices)[:, None]
        out = vertices.copy()
        for _ in range(_SMOOTHING_ROUNDS):
            padded = np.vstack([out, np.zeros(3)])
            mean = padded[self._table].sum(1) / self._count[:, None]
            out = out + 0.7 * where * (mean - out)
        return out

    def _where(self, vertices: Floats) -> Floats:
        """(V,) 0..1: how strongly to smooth."""
        where = np.zeros(mh.VERTICES)
        for bone in ("breast.L", "breast.R"):
            follows = self._rig.weight({bone})
            core = np.flatnonzero(follows > 0.5 * follows.max())
            tip = vertices[core[vertices[core, 2].argmax()]]
            where = np.maximum(where, np.clip(1.6 - np.linalg.norm(vertices - tip, axis=1) / 0.42, 0, 1))
        hip = self._rig.joint("upperleg01.L", vertices)
        groin = (vertices - [0, hip[1] - 0.55, 0.75]) / [0.55, 0.9, 1.2]
        where = np.maximum(where, np.clip(1.5 - np.linalg.norm(groin, axis=1), 0, 1))
        return np.asarray(where * self._inner)
