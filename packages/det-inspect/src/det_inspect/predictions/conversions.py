"""Results as objects of other libraries."""

from typing import Any

import numpy as np
import torch
from det_core.ops import rotated
from det_core.predict import Result

from det_inspect.optional import optional

__all__ = ["to_pandas", "to_supervision"]


def to_pandas(result: Result) -> Any:
    """A `pandas.DataFrame` with a row per object: its box (x0 to y1, or cx to angle), "label", "class" and "score".

    Raises:
        MissingExtraError: pandas is not installed.
    """
    frame, detections = optional("pandas", "Result.to_pandas").DataFrame, result.detections
    columns = ["x0", "y0", "x1", "y1"] if detections.boxes.shape[1] == 4 else ["cx", "cy", "width", "height", "angle"]
    more = {"label": detections.labels.numpy(), "class": _names(result), "score": detections.scores.numpy()}
    return frame(detections.boxes.numpy(), columns=columns).assign(**more)


def to_supervision(result: Result) -> Any:
    """A `supervision.Detections`: masks bool at the size of the image, names in the data "class_name".

    Boxes of rotated ones are those around them; their corners (N, 4, 2) are in the data "xyxyxyxy".

    Raises:
        MissingExtraError: supervision is not installed.
    """
    library, detections = optional("supervision", "Result.to_supervision"), result.detections
    boxes, data = detections.boxes, {"class_name": np.array(_names(result), dtype=str)}
    if boxes.shape[1] == 5:
        corners = rotated.corners(boxes)
        data["xyxyxyxy"] = corners.numpy()
        boxes = torch.cat((corners.amin(1), corners.amax(1)), dim=1)
    return library.Detections(
        xyxy=boxes.numpy(),
        mask=result.masks.stacked().numpy() if detections.masks is not None and len(detections) else None,
        confidence=detections.scores.numpy(),
        class_id=detections.labels.numpy(),
        data=data,
    )


def _names(result: Result) -> list[str]:
    return [result.classes[label] for label in result.detections.labels.tolist()]
