"""AP of rotated boxes, as `detectron2.evaluation.rotated_coco_evaluation`; by det's evaluator."""

from collections.abc import Sequence
from typing import Any

import torch
from det_core.structures import Detections, Prediction, Sample, Targets

from det_detectron2.layer.evaluation._samples import DetEvaluator
from det_detectron2.layer.structures import BoxMode

__all__ = ["RotatedCOCOEvaluator"]


class RotatedCOCOEvaluator(DetEvaluator):
    """{"bbox": {"AP", "AP50", ...}} of boxes (N, 5), in percent.

    Args:
        dataset_name: name of a data set in `DatasetCatalog` with boxes in `XYWHA_ABS`.
        tasks: accepted for compatibility; only boxes are evaluated.
        distributed: whether to gather the predictions of all processes.
        output_dir: accepted for compatibility; results are returned.
        kwargs: accepted for compatibility with `COCOEvaluator`.
    """

    def __init__(
        self,
        dataset_name: str,
        tasks: Any = None,
        distributed: bool = True,
        output_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(dataset_name, distributed)

    def build(self, classes: list[str]) -> Any:
        """det's evaluator."""
        from det_core.evaluation import CocoEvaluator

        return CocoEvaluator(classes, ("bbox",))

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Give the predictions of a batch to det's evaluator."""
        for source, output in zip(inputs, outputs, strict=True):
            record, current = self._records[source["image_id"]], output["instances"].to("cpu")
            matches = Detections(
                boxes=current.pred_boxes.tensor,
                labels=current.pred_classes,
                scores=current.scores,
                size=current.image_size,
            )
            objects = record.get("annotations", ())
            boxes = [BoxMode.convert(list(each["bbox"]), each["bbox_mode"], BoxMode.XYWHA_ABS) for each in objects]
            targets = Targets(
                boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 5),
                labels=torch.tensor([each["category_id"] for each in objects], dtype=torch.int64),
            )
            pixels = torch.zeros(1, 1, 1, dtype=torch.uint8).expand(3, record["height"], record["width"])
            sample = Sample(image=pixels, targets=targets, id=record["image_id"])
            self._det.update(Prediction(detections=matches), sample)

    def evaluate(self) -> Any:
        """The metrics; None outside of rank 0."""
        if not self.gathered():
            return None
        matches = self._det.result()
        names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
        return {"bbox": {name: 100 * matches.get(f"bbox/{name}", float("nan")) for name in names}}
