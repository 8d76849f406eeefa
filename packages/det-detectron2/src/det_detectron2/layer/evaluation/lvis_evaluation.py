"""AP of LVIS, as `detectron2.evaluation.lvis_evaluation`; by det's evaluator."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from det_detectron2.layer.evaluation._samples import DetEvaluator
from det_detectron2.layer.utils.logger import create_small_table

__all__ = ["LVISEvaluator"]

_GROUPS = {"r": 0, "c": 1, "f": 2}


class LVISEvaluator(DetEvaluator):
    """LVIS' metrics: "AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", in percent.

    Args:
        dataset_name: name of a data set registered by `register_lvis_instances`.
        tasks: tasks among "bbox" and "segm"; None evaluates all that the predictions contain.
        distributed: whether to gather the predictions of all processes.
        output_dir: accepted for compatibility; results are returned.
        max_dets_per_image: maximum number of detections per image, 300 by default.
    """

    def __init__(
        self,
        dataset_name: str,
        tasks: Any = None,
        distributed: bool = True,
        output_dir: str | None = None,
        *,
        max_dets_per_image: int | None = None,
    ) -> None:
        source = None if tasks is None or hasattr(tasks, "MODEL") else tuple(tasks)
        self._tasks: tuple[Any, ...] = ("bbox", "segm") if source is None else source
        self._decided, self._limit = source is not None, max_dets_per_image or 300
        self.masks = "segm" in self._tasks
        super().__init__(dataset_name, distributed)
        frequency = {each["id"]: each["frequency"] for each in self._metadata.get("class_frequency", ())}
        self._frequency = torch.tensor(
            [_GROUPS[frequency[number]] for number in sorted(frequency)] or [2] * len(self._metadata.thing_classes)
        )

    def build(self, classes: list[str]) -> Any:
        """det's evaluator."""
        from det_datasets.evaluators import LvisEvaluator

        return LvisEvaluator(classes, self._tasks, self._limit)

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Take a batch; the first decides about masks, where no tasks were given."""
        if not self._decided and outputs and not outputs[0]["instances"].has("pred_masks"):
            self._tasks, self.masks = ("bbox",), False
            self.reset()
        self._decided = True
        super().process(inputs, outputs)

    def extras(self, record: Mapping[str, Any], count: int) -> dict[str, Any]:
        """What LVIS knows about an image."""
        current = {
            "lvis/negative": torch.tensor(record.get("neg_category_ids", ()), dtype=torch.int64),
            "lvis/not_exhaustive": torch.tensor(record.get("not_exhaustive_category_ids", ()), dtype=torch.int64),
            "lvis/frequency": self._frequency,
        }
        return {"image_extras": current}

    def evaluate(self) -> Any:
        """{"bbox": {"AP": ...}, "segm": ...}; None outside of rank 0."""
        if not self.gathered():
            return None
        output = self._det.result()
        results: dict[str, dict[str, float]] = {task: {} for task in self._tasks}
        for name, value in output.items():
            task, metric = name.split("/", 1)
            if "/" not in metric and not metric.startswith("AR"):
                results[task][metric] = 100 * value
        for task, values in results.items():
            logging.getLogger(__name__).info("Evaluation results for %s: \n%s", task, create_small_table(dict(values)))
        return results
