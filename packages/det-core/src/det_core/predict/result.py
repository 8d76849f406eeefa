"""`Result`: the prediction of one image."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from det_core.errors import ConfigError
from det_core.evaluation import to_coco
from det_core.ops.masks import MasksInImage
from det_core.plugins import registry
from det_core.plugins.known import function
from det_core.structures import Detections, PanopticMap, Prediction, SemanticMap
from det_core.visual import draw, in_words
from det_core.zoo.class_names import short_name

__all__ = ["Result"]


@dataclass(frozen=True, eq=False)
class Result:
    """The prediction of one image.

    Attributes:
        image: the image as it was given, uint8 RGB (3, H, W), on the CPU.
        prediction: all outputs of the model, in pixels of `image`.
        classes: the name of each label.
        category_ids: the dataset's own number of each label.
        path: the file it came from; None where there is none.
        best_score: the highest score below the threshold, where no score reaches it; else None.
    """

    image: Tensor
    prediction: Prediction
    classes: Sequence[str]
    category_ids: Sequence[int]
    path: Path | None = None
    best_score: float | None = None

    @property
    def detections(self) -> Detections:
        """The objects found, best first, in the pixels of `image`."""
        if self.prediction.detections is None:
            raise ConfigError("Result.detections", "this model detects no objects", fix="use Result.prediction")
        return self.prediction.detections

    @property
    def masks(self) -> MasksInImage:
        """The mask of each object, in the pixels of `image`: `masks[i]` draws one, bool (H, W).

        Those of a crowd in a large image would take gigabytes, so that none is drawn before; `detections.masks` are
        the masks within each box.
        """
        detections = self.detections
        if detections.masks is None:
            raise ConfigError("Result.masks", "this model makes no masks", fix="use Result.detections")
        return MasksInImage(detections.masks, detections.boxes, detections.size)

    @property
    def segments(self) -> PanopticMap | SemanticMap | None:
        """The panoptic or semantic map of `image`; None if the model predicts none."""
        return self.prediction.panoptic or self.prediction.semantic

    def __len__(self) -> int:
        return len(self.detections)

    def __repr__(self) -> str:
        return f"Result({self.path or 'image'}: {self.summary()})"

    def summary(self) -> str:
        """How many of each class were found, such as "12 RBC, 1 WBC"; of pixels, by falling area, "2 dog, sky 40 %"."""
        if self.segments is not None:
            return in_words(self.segments, self.classes)
        labels, counts = self.detections.labels.unique(return_counts=True)
        counted = [
            f"{n} {short_name(self.classes[label])}" for label, n in zip(labels.tolist(), counts.tolist(), strict=True)
        ]
        nothing = "nothing found" + ("" if self.best_score is None else f"; the best score is {self.best_score:.2f}")
        return ", ".join(counted) or nothing

    def filtered(
        self, threshold: float = 0.0, classes: Sequence[str] | None = None, limit: int | None = None
    ) -> "Result":
        """The same with fewer objects: of at least this score, of classes by name, and the `limit` best of these.

        Raises:
            ConfigError: a name is not among `Result.classes`.
        """
        detections = self.prediction.detections
        if detections is None:
            return self
        if classes is not None:
            if unknown := [name for name in classes if name not in self.classes]:
                near = registry.did_you_mean(unknown[0], self.classes) or f"there is {', '.join(self.classes[:20])}"
                raise ConfigError("classes", f"the model has no class {unknown[0]!r}", fix=near)
            labels = [label for label, name in enumerate(self.classes) if name in classes]
            detections = detections[torch.isin(detections.labels, detections.labels.new_tensor(labels))]
        passing = detections[detections.scores >= threshold]
        best = float(detections.scores.max()) if len(detections) and not len(passing) else None
        if limit is not None:
            passing = passing[passing.scores.argsort(descending=True, stable=True)[:limit]]
        return replace(self, prediction=replace(self.prediction, detections=passing), best_score=best)

    def plot(self, labels: bool = True, line_width: int | None = None) -> Image.Image:
        """The image with boxes, masks and keypoints drawn on it, or with segments and a legend.

        Args:
            labels: whether to write names and scores.
            line_width: width of boxes, in pixels; None: by the size of the image.

        Raises:
            MissingExtraError: there are segments, and det-panoptic is not installed.
        """
        if self.segments is not None:
            picture: Image.Image = function("Result.plot")(self.image, self.segments, self.classes)
            return picture
        return draw(self.image, self.detections, self.classes, labels, line_width)

    def _repr_png_(self) -> bytes:
        """The plot, which notebooks show."""
        content = BytesIO()
        self.plot().save(content, "PNG")
        return content.getvalue()

    def _repr_html_(self) -> str:
        """The plot over its summary, which notebooks prefer."""
        picture = b64encode(self._repr_png_()).decode()
        style = "max-width: 100%"
        return f'<img style="{style}" src="data:image/png;base64,{picture}"><div>{escape(self.summary())}</div>'

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row per object: its box (x0 to y1, or cx to angle), "label", "class", "score"."""
        return function("Result.to_pandas")(self)

    def to_supervision(self) -> Any:
        """A `supervision.Detections`, with masks at the size of the image; corners of rotated boxes are in its data."""
        return function("Result.to_supervision")(self)

    def to_coco(self, image_id: int | str) -> list[dict[str, Any]]:
        """The detections in the COCO results format, ready for JSON."""
        return to_coco(self.detections, image_id, self.category_ids)

    def to_coco_panoptic(self, image_id: int | str, file_name: str) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """The segments in the COCO panoptic format: the colors of a PNG file, (H, W, 3), and an entry for JSON."""
        if self.prediction.panoptic is None:
            raise ConfigError("Result.to_coco_panoptic", "this model makes no segments", fix="use a panoptic model")
        convert = function("Result.to_coco_panoptic")
        colors, entry = convert(self.prediction.panoptic, image_id, self.category_ids, file_name)
        return colors, entry
