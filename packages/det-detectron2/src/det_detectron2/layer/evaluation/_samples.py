"""Detectron2's records and outputs as det's samples and predictions, for det's evaluators."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from det_core.structures import Detections, Prediction, Sample, Targets
from pycocotools import mask as coco_mask

from det_detectron2.layer.data import DatasetCatalog, MetadataCatalog
from det_detectron2.layer.evaluation.evaluator import DatasetEvaluator
from det_detectron2.layer.structures import BoxMode, polygons_to_bitmask
from det_detectron2.layer.utils import comm

__all__ = ["DetEvaluator", "sample_of"]


class DetEvaluator(DatasetEvaluator):
    """An evaluator of det behind Detectron2's interface.

    Args:
        dataset_name: name of a data set registered in `DatasetCatalog`.
        distributed: whether to gather the predictions of all processes.
    """

    masks = False

    def __init__(self, dataset_name: str, distributed: bool = True) -> None:
        self._dataset_name, self._distributed = dataset_name, distributed
        self._metadata = MetadataCatalog.get(dataset_name)
        self._records = {each["image_id"]: each for each in DatasetCatalog.get(dataset_name)}
        self._det: Any = self.build(list(self._metadata.thing_classes))

    def build(self, classes: list[str]) -> Any:
        """The evaluator of det."""
        raise NotImplementedError

    def reset(self) -> None:
        """Begin a new round."""
        self._det = self.build(list(self._metadata.thing_classes))

    def extras(self, record: Mapping[str, Any], count: int) -> dict[str, Any]:
        """What the evaluator needs beside boxes: arguments of `Targets`."""
        return {}

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Give the predictions of a batch to det's evaluator."""
        for source, output in zip(inputs, outputs, strict=True):
            record, current = self._records[source["image_id"]], output["instances"].to("cpu")
            masks = current.pred_masks if self.masks and current.has("pred_masks") else None
            results = Detections(
                boxes=current.pred_boxes.tensor,
                labels=current.pred_classes,
                scores=current.scores,
                size=current.image_size,
                masks=masks,
            )
            objects = [each for each in record.get("annotations", ()) if not each.get("iscrowd", 0)]
            sample = sample_of(record, objects, self.masks, self.extras(record, len(objects)))
            self._det.update(Prediction(detections=results), sample)

    def gathered(self) -> bool:
        """Gather the predictions of all processes; whether this is the one that evaluates."""
        if self._distributed:
            comm.synchronize()
            states = comm.gather(self._det.state(), dst=0)
            if not comm.is_main_process():
                return False
            self._det.merge(states)
        return True


def sample_of(
    record: Mapping[str, Any], objects: Sequence[Mapping[str, Any]], masks: bool, extras: Mapping[str, Any]
) -> Sample:
    """An image without its pixels, with objects as targets."""
    height, width = record["height"], record["width"]
    boxes = [BoxMode.convert(list(each["bbox"]), each["bbox_mode"], BoxMode.XYXY_ABS) for each in objects]
    segmentations: Any = None
    if masks and objects and all("segmentation" in each for each in objects):
        segmentations = torch.stack([_mask(each["segmentation"], height, width) for each in objects])
    targets = Targets(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor([each["category_id"] for each in objects], dtype=torch.int64),
        masks=torch.zeros(0, height, width, dtype=torch.bool) if masks and segmentations is None else segmentations,
        **extras,
    )
    pixels = torch.zeros(1, 1, 1, dtype=torch.uint8).expand(3, height, width)
    return Sample(image=pixels, targets=targets, id=record["image_id"])


def _mask(polygon: Any, height: int, width: int) -> torch.Tensor:
    if isinstance(polygon, list):
        return torch.from_numpy(polygons_to_bitmask([np.asarray(each) for each in polygon], height, width))
    return torch.from_numpy(coco_mask.decode(polygon).astype(bool))
