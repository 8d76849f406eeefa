"""Panoptic models in exported files, and their postprocessing; `arrays` has the latter in NumPy alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from det_core.errors import StructureError
from det_core.structures import ImageBatch, Prediction, SemanticMap
from torch import Tensor, nn

from det_panoptic.grouping import Grouping
from det_panoptic.merging import Merging

__all__ = ["CENTERS", "OFFSETS", "BeforeGrouping", "BeforeJoining", "GroupPixels", "JoinThings"]

CENTERS, OFFSETS = "det-panoptic/centers", "det-panoptic/offsets"
"""Extras of a prediction before the grouping: float32 (1, H, W) and (2, H, W), padded right and bottom."""


class _Before(nn.Module):
    """A model without the steps that cannot be exported.

    Args:
        whole: the complete model.
    """

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.whole, self.num_classes = whole, whole.num_classes

    @property
    def backbone(self) -> nn.Module:
        """The backbone of the model."""
        part: nn.Module = self.whole.backbone
        return part


class BeforeJoining(_Before):
    """Panoptic FPN up to detections and semantic logits."""

    def forward(self, batch: ImageBatch) -> list[Prediction]:
        """Detections and semantic maps, without segments."""
        features = self.whole.backbone(self.whole.preprocess(batch))
        part: list[Prediction] = self.whole.without_segments(features, batch.sizes)
        return part


class BeforeGrouping(_Before):
    """Panoptic-DeepLab up to its dense maps."""

    def forward(self, batch: ImageBatch) -> list[Prediction]:
        """Semantic maps, with centers and offsets as extras, in whole cells of the finest level."""
        outputs = self.whole.dense(self.whole.preprocess(batch))
        return [
            Prediction(semantic=SemanticMap(logits=logits), extras={CENTERS: centers, OFFSETS: offsets})
            for logits, centers, offsets in zip(*outputs, strict=True)
        ]


class JoinThings:
    """Merges things and stuff into segments, as `PanopticFPN` does.

    Args:
        num_things: number of thing classes: the label of the first stuff class.
        overlap_threshold: maximum covered fraction of a detection; as all others, see `Merging`.
        stuff_area: minimum stuff area in pixels.
        score_threshold: minimum score of a detection, in [0, 1].
    """

    def __init__(self, num_things: int, overlap_threshold: float, stuff_area: int, score_threshold: float) -> None:
        self.num_things, self.merging = num_things, Merging(overlap_threshold, stuff_area, score_threshold)

    def __call__(self, prediction: Prediction) -> Prediction:
        """The prediction with segments; StructureError without detections or a semantic map."""
        return self.with_segments(prediction)

    def with_segments(self, prediction: Prediction) -> Prediction:
        """As `det_core.contracts.SegmentMaker`."""
        detections, semantic = prediction.detections, prediction.semantic
        if detections is None or semantic is None:
            raise StructureError("prediction", "needs detections and a semantic map to be merged")
        return replace(prediction, panoptic=self.merging(detections, semantic.logits, self.num_things))


class GroupPixels:
    """Groups pixels into segments, as `PanopticDeepLab` does.

    Args:
        num_classes: number of classes of pixels.
        things: labels of the thing classes.
        threshold: minimum height of a centre; as the next three, see `Grouping`.
        nms_kernel: side of the NMS window in pixels, odd.
        top_k: maximum number of centers per image.
        stuff_area: minimum stuff area in pixels.
        predict_instances: whether things are also returned as detections.
    """

    def __init__(
        self,
        num_classes: int,
        things: Sequence[int],
        threshold: float,
        nms_kernel: int,
        top_k: int,
        stuff_area: int,
        predict_instances: bool,
    ) -> None:
        settings = {"threshold": threshold, "nms_kernel": nms_kernel, "top_k": top_k, "stuff_area": stuff_area}
        self.grouping = Grouping(num_classes, things, **settings)  # type: ignore[arg-type]
        self.instances = predict_instances

    def __call__(self, prediction: Prediction) -> Prediction:
        """The prediction with segments, and without the extras they are computed from."""
        if prediction.semantic is None or not {CENTERS, OFFSETS} <= prediction.extras.keys():
            raise StructureError("prediction", "needs a semantic map, centers and offsets to be grouped")
        logits = prediction.semantic.logits
        height, width = logits.shape[-2:]
        centers, offsets = (self._cut(prediction.extras[key], height, width) for key in (CENTERS, OFFSETS))
        grouping = self.grouping.to(logits.device)
        (grouped,) = grouping.predictions(logits[None], centers, offsets, instances=self.instances)
        extras = {key: value for key, value in prediction.extras.items() if key not in (CENTERS, OFFSETS)}
        return replace(grouped, extras=extras)

    @staticmethod
    def _cut(value: Tensor, height: int, width: int) -> Tensor:
        return value[None, :, :height, :width]
