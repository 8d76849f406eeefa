"""Mean IoU of classes of pixels, as `detectron2.evaluation.sem_seg_evaluation`."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from det_detectron2.layer.data import DatasetCatalog, MetadataCatalog
from det_detectron2.layer.evaluation.evaluator import DatasetEvaluator
from det_detectron2.layer.utils import comm
from det_detectron2.layer.utils.file_io import PathManager

__all__ = ["CityscapesSemSegEvaluator", "SemSegEvaluator", "load_image_into_numpy_array"]


def load_image_into_numpy_array(filename: str, copy: bool = False, dtype: Any = None) -> NDArray[Any]:
    """The labels (H, W) of a file."""
    with PathManager.open(filename, "rb") as file:
        return np.array(Image.open(file), copy=True, dtype=dtype)


class SemSegEvaluator(DatasetEvaluator):
    """{"sem_seg": {"mIoU", "fwIoU", "IoU-NAME", "mACC", "pACC", "ACC-NAME"}}, in percent.

    Args:
        dataset_name: name of a registered data set with "sem_seg_file_name" per image and `stuff_classes`.
        distributed: whether to gather the predictions of all processes.
        output_dir: accepted for compatibility; results are returned.
        sem_seg_loading_fn: function from a file name to an array of labels.
        num_classes: accepted; the metadata's `stuff_classes` are counted.
        ignore_label: accepted; the metadata's `ignore_label` is used, 255 by default.
    """

    def __init__(
        self,
        dataset_name: str,
        distributed: bool = True,
        output_dir: str | None = None,
        *,
        sem_seg_loading_fn: Callable[..., NDArray[Any]] = load_image_into_numpy_array,
        num_classes: int | None = None,
        ignore_label: int | None = None,
    ) -> None:
        self._logger = logging.getLogger(__name__)
        self._distributed = distributed
        metadata = MetadataCatalog.get(dataset_name)
        self.input_file_to_gt_file = {
            each["file_name"]: each["sem_seg_file_name"] for each in DatasetCatalog.get(dataset_name)
        }
        self._class_names = list(metadata.stuff_classes)
        self._ignore_label = metadata.get("ignore_label", 255 if ignore_label is None else ignore_label)
        self.sem_seg_loading_fn = sem_seg_loading_fn
        self.reset()

    def reset(self) -> None:
        """Begin a new round."""
        count = len(self._class_names)
        self._conf_matrix: NDArray[np.int64] = np.zeros((count, count), dtype=np.int64)

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Count the pixels of a batch."""
        count = len(self._class_names)
        for source, output in zip(inputs, outputs, strict=True):
            predicted = output["sem_seg"].argmax(dim=0).to(torch.device("cpu")).numpy().astype(np.int64)
            file = self.input_file_to_gt_file[source["file_name"]]
            target = np.asarray(self.sem_seg_loading_fn(file, dtype=np.int64))
            available = target != self._ignore_label
            pairs = target[available] * count + predicted[available]
            self._conf_matrix += np.bincount(pairs.reshape(-1), minlength=count * count).reshape(count, count)

    def evaluate(self) -> Any:
        """The metrics; None outside of rank 0."""
        matrix = self._conf_matrix
        if self._distributed:
            comm.synchronize()
            matrices = comm.gather(matrix)
            if not comm.is_main_process():
                return None
            matrix = sum(matrices)
        right = matrix.diagonal().astype(float)
        labelled, predicted = matrix.sum(axis=1).astype(float), matrix.sum(axis=0).astype(float)
        union = labelled + predicted - right
        with np.errstate(divide="ignore", invalid="ignore"):
            accuracy = np.where(labelled > 0, right / labelled, np.nan)
            overlap = np.where((labelled > 0) & (union > 0), right / union, np.nan)
        total = max(labelled.sum(), 1.0)
        matches = {
            "mIoU": 100 * float(np.nanmean(overlap)),
            "fwIoU": 100 * float(np.nansum(overlap * labelled / total)),
            **{f"IoU-{name}": 100 * float(value) for name, value in zip(self._class_names, overlap, strict=True)},
            "mACC": 100 * float(np.nanmean(accuracy)),
            "pACC": 100 * float(right.sum() / total),
            **{f"ACC-{name}": 100 * float(value) for name, value in zip(self._class_names, accuracy, strict=True)},
        }
        self._logger.info("%s", matches)
        return {"sem_seg": matches}


class CityscapesSemSegEvaluator(SemSegEvaluator):
    """`SemSegEvaluator` on Cityscapes: {"sem_seg": {"IoU": ...}}, in percent.

    Args:
        dataset_name: name of a registered data set with label images of training ids.
    """

    def __init__(self, dataset_name: str) -> None:
        super().__init__(dataset_name)

    def evaluate(self) -> Any:
        """The metric; None outside of rank 0."""
        matches = super().evaluate()
        return None if matches is None else {"sem_seg": {"IoU": matches["sem_seg"]["mIoU"]}}
