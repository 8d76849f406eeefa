"""Converts published proposal files for `det_datasets.wrappers:WithProposals`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from det_core.errors import DataError
from det_core.printable import quoted
from det_core.structures import Proposals
from det_core.weights.reading import read_pickle
from det_datasets.wrappers import write_proposals
from numpy.typing import NDArray

__all__ = ["convert_proposals", "read_proposals"]

# Numbers of Detectron2's box formats: corners, or a corner with width and height.
_CORNERS, _SIDES = 0, 1


def convert_proposals(source: Path | str, target: Path | str) -> int:
    """Convert a pickle of proposals of Detectron or Detectron2 into an .npz; returns the number of images.

    No code in the pickle is run. It holds lists over images: `ids` (or `indexes`), `boxes` (N, 4), `objectness_logits`
    (or `scores`) (N,), and optionally `bbox_mode`.

    Raises:
        WeightsError: the pickle is damaged, or asks for more than arrays.
        DataError: it holds something else.
    """
    path = Path(source)
    content = read_proposals(path)
    ids, boxes, logits, form = (content[name] for name in ("ids", "boxes", "objectness_logits", "bbox_mode"))
    proposals: dict[int | str, Proposals] = {}
    for image_id, image_boxes, image_logits in zip(ids, boxes, logits, strict=True):
        key = image_id if isinstance(image_id, str) else int(image_id)
        if key in proposals:
            raise DataError(str(path), f"holds image {key!r} twice")
        proposals[key] = _proposals(image_boxes, image_logits, form == _SIDES, f"{path}: image {key!r}")
    write_proposals(Path(target), proposals)
    return len(proposals)


def read_proposals(source: Path | str) -> dict[str, Any]:
    """The lists of such a pickle, `ids`, `boxes`, `objectness_logits`, and `bbox_mode`; raises as the conversion."""
    path = Path(source)
    content = read_pickle(path, parts=20_000_000)
    if not isinstance(content, Mapping):
        raise DataError(str(path), "is no file of proposals", f"it holds a {type(content).__name__}")
    ids = _list(content, ("ids", "indexes"), path)
    boxes = _list(content, ("boxes",), path)
    logits = _list(content, ("objectness_logits", "scores"), path)
    form = content.get("bbox_mode", _CORNERS)
    if form not in (_CORNERS, _SIDES):
        raise DataError(str(path), "has boxes in an unknown format", f"bbox_mode is {quoted(form, 60)}")
    if not len(ids) == len(boxes) == len(logits):
        counts = f"{len(ids)} ids, {len(boxes)} of boxes, {len(logits)} of logits"
        raise DataError(str(path), "its lists differ in length", counts)
    return {"ids": ids, "boxes": boxes, "objectness_logits": logits, "bbox_mode": form}


def _list(content: Mapping[Any, Any], names: Sequence[str], path: Path) -> Sequence[Any]:
    """The list under one of these names."""
    for name in names:
        if isinstance(content.get(name), list | tuple | np.ndarray):
            values: Sequence[Any] = content[name]
            return values
    raise DataError(str(path), "is no file of proposals", f"it has no list {' or '.join(map(repr, names))}")


def _proposals(boxes: Any, logits: Any, sides: bool, where: str) -> Proposals:
    try:
        corners: NDArray[np.float32] = np.array(boxes, np.float32).reshape(-1, 4)
        scores: NDArray[np.float32] = np.array(logits, np.float32).reshape(-1)
    except (ValueError, TypeError) as error:
        raise DataError(where, "has boxes or logits that are no arrays of numbers", str(error)) from error
    if len(corners) != len(scores):
        raise DataError(where, "must have one logit per box", f"{len(scores)} for {len(corners)} boxes")
    if sides:
        corners[:, 2:] += corners[:, :2]
    return Proposals(boxes=torch.from_numpy(corners), logits=torch.from_numpy(scores))
