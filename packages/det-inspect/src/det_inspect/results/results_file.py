"""Writes detections to a file in COCO's results format during evaluation."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from det_core.errors import ConfigError
from det_core.evaluation.coco_results import to_coco
from det_core.evaluation.per_image import PerImage
from det_core.structures import Prediction, Sample

__all__ = ["ResultsFile"]


class ResultsFile(PerImage[list[dict[str, Any]]]):
    """An evaluator without metrics: `result` writes all detections, which `det eval --predictions` reads.

    Args:
        classes: names of the classes; the label is the index.
        file: path of the JSON file to write.
        category_ids: category id of the dataset, by label; None to count from 1.
    """

    def __init__(self, classes: Sequence[str], file: Path, category_ids: Sequence[int] | None = None) -> None:
        super().__init__()
        self.file = Path(file)
        self.category_ids = tuple(range(1, len(classes) + 1) if category_ids is None else category_ids)

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image."""
        self.require_new(sample)
        detections = prediction.detections
        self._images[sample.id] = [] if detections is None else to_coco(detections, sample.id, self.category_ids)

    def result(self) -> dict[str, float]:
        """Write the file; {}, or ConfigError if that fails."""
        entries = [entry for image_id in self.image_ids for entry in self._images[image_id]]
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(json.dumps(entries), encoding="utf-8")
        except OSError as error:
            problem = "the results cannot be written"
            raise ConfigError(str(self.file), problem, error.strerror or str(error)) from error
        return {}
