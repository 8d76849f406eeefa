"""AP of PASCAL VOC, as `detectron2.evaluation.pascal_voc_evaluation`; by det's evaluator."""

from collections.abc import Mapping
from typing import Any

import torch

from det_detectron2.layer.data import MetadataCatalog
from det_detectron2.layer.evaluation._samples import DetEvaluator

__all__ = ["PascalVOCDetectionEvaluator"]


class PascalVOCDetectionEvaluator(DetEvaluator):
    """{"bbox": {"AP", "AP50", "AP75"}}, in percent, at eleven recalls for the sets of 2007.

    Args:
        dataset_name: name of a data set registered by `register_pascal_voc`.
    """

    def __init__(self, dataset_name: str) -> None:
        self._eleven = MetadataCatalog.get(dataset_name).get("year", 2007) == 2007
        super().__init__(dataset_name)

    def build(self, classes: list[str]) -> Any:
        """det's evaluator."""
        from det_datasets.evaluators import VocEvaluator

        return VocEvaluator(classes, self._eleven)

    def extras(self, record: Mapping[str, Any], count: int) -> dict[str, Any]:
        """Which objects are difficult."""
        flags = [bool(each.get("difficult", 0)) for each in record.get("annotations", ())]
        return {"extras": {"voc/difficult": torch.tensor(flags, dtype=torch.bool)}}

    def evaluate(self) -> Any:
        """The metrics; None outside of rank 0."""
        if not self.gathered():
            return None
        results = self._det.result()
        return {"bbox": {name: 100 * results.get(f"voc/{name}", float("nan")) for name in ("AP", "AP50", "AP75")}}
