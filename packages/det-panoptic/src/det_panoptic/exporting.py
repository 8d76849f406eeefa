"""What stands for panoptic models in exported files, and the steps that follow; `arrays` has them in NumPy alone."""

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
    """A model up to the steps that no graph can hold.

    Args:
        whole: the model, whose parts these are.
    """

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.whole, self.num_classes = whole, whole.num_classes

    @property
    def backbone(self) -> nn.Module:
        """That of the model."""
        found: nn.Module = self.whole.backbone
        return found


class BeforeJoining(_Before):
    """A Panoptic FPN up to things and classes of pixels."""

    def forward(self, batch: ImageBatch) -> list[Prediction]:
        """Detections and semantic maps, without segments."""
        features = self.whole.backbone(self.whole.preprocess(batch))
        found: list[Prediction] = self.whole.without_segments(features, batch.sizes)
        return found


class BeforeGrouping(_Before):
    """A Panoptic-DeepLab up to the maps of all pixels."""

    def forward(self, batch: ImageBatch) -> list[Prediction]:
        """Semantic maps, and centers and offsets as extras, all of whole cells of the finest level."""
        outputs = self.whole.dense(self.whole.preprocess(batch))
        return [
            Prediction(semantic=SemanticMap(logits=logits), extras={CENTERS: centers, OFFSETS: offsets})
            for logits, centers, offsets in zip(*outputs, strict=True)
        ]


class JoinThings:
    """Joins things and stuff to segments, as `PanopticFPN` does.

    Args:
        num_things: the label of the first stuff.
        overlap_threshold: as of `Merging`, and so are the others.
        stuff_area: pixels.
        score_threshold: in [0, 1].
    """

    def __init__(self, num_things: int, overlap_threshold: float, stuff_area: int, score_threshold: float) -> None:
        self.num_things, self.merging = num_things, Merging(overlap_threshold, stuff_area, score_threshold)

    def __call__(self, prediction: Prediction) -> Prediction:
        """The prediction with segments; StructureError where it lacks what they are made of."""
        return self.with_segments(prediction)

    def with_segments(self, prediction: Prediction) -> Prediction:
        """As `det_core.contracts.SegmentMaker`."""
        detections, semantic = prediction.detections, prediction.semantic
        if detections is None or semantic is None:
            raise StructureError("prediction", "needs detections and a semantic map to be joined")
        return replace(prediction, panoptic=self.merging(detections, semantic.logits, self.num_things))


class GroupPixels:
    """Groups pixels to segments, as `PanopticDeepLab` does.

    Args:
        num_classes: of pixels.
        things: the labels of things.
        threshold: as of `Grouping`, and so are the next three.
        nms_kernel: pixels, odd.
        top_k: centers at most.
        stuff_area: pixels.
        predict_instances: whether things are also given as detections.
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
        own = {"threshold": threshold, "nms_kernel": nms_kernel, "top_k": top_k, "stuff_area": stuff_area}
        self.grouping = Grouping(num_classes, things, **own)  # type: ignore[arg-type]
        self.instances = predict_instances

    def __call__(self, prediction: Prediction) -> Prediction:
        """The prediction with segments, and without the extras that they were made of."""
        if prediction.semantic is None or not {CENTERS, OFFSETS} <= prediction.extras.keys():
            raise StructureError("prediction", "needs a semantic map, centers and offsets to be grouped")
        logits = prediction.semantic.logits
        height, width = logits.shape[-2:]
        centers, offsets = (self._cut(prediction.extras[key], height, width) for key in (CENTERS, OFFSETS))
        grouping = self.grouping.to(logits.device)
        (made,) = grouping.predictions(logits[None], centers, offsets, instances=self.instances)
        extras = {key: value for key, value in prediction.extras.items() if key not in (CENTERS, OFFSETS)}
        return replace(made, extras=extras)

    @staticmethod
    def _cut(value: Tensor, height: int, width: int) -> Tensor:
        return value[None, :, :height, :width]
