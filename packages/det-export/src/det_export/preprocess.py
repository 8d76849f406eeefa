"""Preprocessing for files that do not resize, in NumPy: copy these lines into programs without det.

The rule is in the JSON beside the file, under "resize", and in its metadata.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["prepare", "rule_of", "rule_of_recipe"]


def prepare(picture: NDArray[np.uint8], rule: Mapping[str, Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The inputs of a file for a picture, and the factors that scale its boxes back to the picture.

    Args:
        picture: uint8 (H, W, 3), RGB.
        rule: "resize" of the JSON: "short" and "long", the length of the shorter side and the limit of the longer one
            in pixels, null for none, and "divisibility" and "smallest", the multiple and minimum of the padded sides.

    Returns:
        `pixels` uint8 (1, 3, H', W'), `sizes` int64 (1, 2), and factors float64 (4,) for boxes (N, 4).
    """
    size = np.array(picture.shape[:2])
    scale = min(rule["short"] / size.min() if rule["short"] else 1.0, (rule["long"] or np.inf) / size.max())
    new = np.maximum(1, (size * scale + 0.5).astype(np.int64))
    centers = [(np.arange(n) + 0.5) * side / n - 0.5 for side, n in zip(size, new, strict=True)]
    reach = np.maximum(1.0, size / new)  # a triangle as wide as the pixels that become one
    sides = [np.arange(side) - center[:, None] for side, center in zip(size, centers, strict=True)]
    weights = [np.maximum(0.0, 1 - abs(offsets) / width) for offsets, width in zip(sides, reach, strict=True)]
    rows, columns = (each / each.sum(1, keepdims=True) for each in weights)
    padded = np.maximum(-(-new // rule["divisibility"]) * rule["divisibility"], rule["smallest"])
    pixels = np.zeros((1, 3, *padded), np.uint8)
    pixels[0, :, : new[0], : new[1]] = np.rint(rows @ picture.transpose(2, 0, 1) @ columns.T)
    return pixels, new[None], np.tile((size / new)[::-1], 2)


def rule_of(transforms: Any, divisibility: int, smallest: int) -> dict[str, Any]:
    """The resizing rule in a recipe's `data.eval_transforms`; {} if they are not only such a rule."""
    rule = {"short": None, "long": None, "divisibility": divisibility, "smallest": smallest}
    nodes = list(transforms or ())
    if not nodes:
        return rule
    node = nodes[0] if len(nodes) == 1 and isinstance(nodes[0], Mapping) else {}
    size = node.get("size", 800)
    size = size[0] if isinstance(size, Sequence) and len(size) == 1 else size
    if str(node.get("type", "")).rpartition(":")[2] != "ResizeShortestEdge" or not isinstance(size, int):
        return {}
    return rule | {"short": size, "long": node.get("max_size", 1333)}


def rule_of_recipe(recipe: str, divisibility: int, smallest: int) -> dict[str, Any]:
    """As `rule_of`, of the text of a recipe; "" has no transforms."""
    from det_core.recipes import yaml

    tree: Any = yaml.parse(recipe, "the recipe of the model") if recipe else {}
    return rule_of(((tree or {}).get("data") or {}).get("eval_transforms"), divisibility, smallest)
