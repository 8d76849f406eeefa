"""Poses the synthetic figure: bones turn about their joints, and the surface follows (linear blend skinning)."""

from collections.abc import Mapping

import numpy as np
from det_core.errors import ConfigError
from numpy.typing import NDArray

from det_densepose.bodies.body import figure
from det_densepose.bodies.sculpt import BONES

__all__ = ["posed", "random_pose", "rotation"]

Array = NDArray[np.float64]


def rotation(axis: Array, degrees: float) -> Array:
    """The matrix (3, 3) that turns about `axis` (3,), counter-clockwise for a viewer at its tip (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross, np.float64)


def posed(turns: Mapping[str, Array]) -> Array:
    """The figure's vertices, float64 (V, 3) in meters, with each named bone turned by a matrix (3, 3) about its joint.

    Raises:
        ConfigError: there is no bone of such a name.
    """
    names = [bone.name for bone in BONES]
    if unknown := set(turns) - set(names):
        raise ConfigError("pose", f"the figure has no bone {sorted(unknown)[0]!r}", f"it has {', '.join(names)}")
    skin = figure().skin
    rest = np.asarray(figure().vertices, np.float64)
    weights, joints = skin["weights"].astype(float), skin["joints"].astype(float)
    turned: dict[str, tuple[Array, Array]] = {"": (np.eye(3), np.zeros(3))}
    vertices = np.zeros((len(weights), 3))
    for number, bone in enumerate(BONES):
        turn, shift = turned[bone.parent]
        joint = joints[number]
        rotation = turn @ turns.get(bone.name, np.eye(3))
        turned[bone.name] = rotation, turn @ joint + shift - rotation @ joint
        moved = rest @ rotation.T + turned[bone.name][1]
        vertices += weights[:, number, None] * moved
    return vertices


def random_pose(random: np.random.Generator, upright: bool = False) -> dict[str, Array]:
    """Turns of all bones: a person who stands, walks or waves, from any side.

    Args:
        random: random number generator of the angles.
        upright: whether the figure faces the viewer and stands straight, as it does in the first pose.
    """
    axes = np.eye(3)

    def turn(*steps: tuple[int, float, float]) -> Array:
        matrix = np.eye(3)
        for axis, low, high in steps:
            matrix = rotation(axes[axis], random.uniform(low, high)) @ matrix
        return matrix

    turns = {"torso": turn((1, -25, 25), (0, -5, 5)) if upright else turn((1, -180, 180), (0, -15, 15), (2, -20, 20))}
    turns["head"] = turn((1, -40, 40), (0, -20, 20))
    for side, sign in (("left", 1), ("right", -1)):
        arm = turn((1, -70 if sign > 0 else -20, 20 if sign > 0 else 70))
        turns[f"{side} upper arm"] = rotation(axes[2], sign * random.uniform(-35, 80)) @ arm
        upper = np.array(BONES[2].end) - BONES[2].start
        flex = np.cross(upper * [sign, 1, 1], axes[2])
        turns[f"{side} lower arm"] = rotation(flex, random.uniform(0, 100))
        turns[f"{side} hand"] = turn((0, -20, 20))
        turns[f"{side} upper leg"] = rotation(axes[2], sign * random.uniform(-4, 22)) @ turn((0, -55, 20))
        turns[f"{side} lower leg"] = turn((0, 0, 65))
        turns[f"{side} foot"] = turn((0, -10, 20))
    return turns
