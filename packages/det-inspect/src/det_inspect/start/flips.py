"""Directions in which pictures may be mirrored without changing the classes or keypoints in them."""

import re
from collections.abc import Sequence

from det_core.errors import ConfigError

from det_inspect.start.asking import Answers

__all__ = ["choose_flips"]

# Classes whose mirror image could be another class, or none.
_SIDED = re.compile(
    r"(?<![a-z])(left|right|links|rechts|gauche|droite|arrow|clockwise|text|letter|sign|digit)(?![a-z])"
)
_CHARACTER = re.compile(r"[a-z0-9]|digit[ _-]?\d", re.IGNORECASE)
_CHOICES = ("none", "horizontal", "both")


def choose_flips(
    answers: Answers, task: str, classes: Sequence[str], keypoints: Sequence[str], paired: bool
) -> tuple[tuple[str, ...], str]:
    """The directions, "horizontal" and "vertical", and the reason for a comment.

    Args:
        answers: answers of the user, with the value of `--flip`, if it was set.
        task: task: detect, segment, pose or rotated.
        classes: names of the classes in the data.
        keypoints: names of the keypoints; empty without.
        paired: whether some keypoints have a counterpart, such as left_eye and right_eye.

    Raises:
        ConfigError: names of classes depend on the side, and no one can be asked.
    """
    flip = answers.value("--flip")
    if task == "pose" and not paired:
        if flip and flip != "none":
            problem = "would mirror keypoints that have no counterparts"
            fix = "name them in pairs, left_x and right_x, or for YOLO in flip_idx of data.yaml"
            raise ConfigError(f"det start --flip {flip}", problem, ", ".join(keypoints[:10]), fix)
        return (), "not mirrored: the keypoints have no counterparts such as left_eye and right_eye"
    if not flip:
        sided = [name for name in classes if _SIDED.search(name.lower()) or _CHARACTER.fullmatch(name)]
        if sided:
            names = ", ".join(sided[:5])
            flip = answers.ask("--flip", f"may pictures be mirrored, with classes such as {names}?", _CHOICES)
        elif task == "rotated":
            return ("horizontal", "vertical"), "rotated objects are mirrored in both directions; --flip chooses others"
        else:
            reason = "from above or through a microscope no side is the upper one: add RandomVerticalFlip (--flip both)"
            return ("horizontal",), reason
    flips = {"none": (), "horizontal": ("horizontal",), "both": ("horizontal", "vertical")}[flip]
    return flips, f"as flip by --flip {flip}"
