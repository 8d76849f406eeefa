"""Panoptic quality, as `detectron2.evaluation.panoptic_evaluation` (Kirillov et al., 2019)."""

import itertools
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from det_detectron2.layer.data import MetadataCatalog
from det_detectron2.layer.evaluation.evaluator import DatasetEvaluator
from det_detectron2.layer.utils import comm

__all__ = ["COCOPanopticEvaluator"]

_Counts = dict[int, NDArray[np.float64]]


class COCOPanopticEvaluator(DatasetEvaluator):
    """{"panoptic_seg": {"PQ", "SQ", "RQ", "PQ_th", ..., "PQ_st", ...}}, in percent.

    Args:
        dataset_name: with `panoptic_json` and `panoptic_root` in its metadata, a COCO panoptic file and its PNGs, and
            the numbers of its categories.
        output_dir: accepted for compatibility; results are returned.
    """

    def __init__(self, dataset_name: str, output_dir: str | None = None) -> None:
        self._metadata = MetadataCatalog.get(dataset_name)
        things = self._metadata.thing_dataset_id_to_contiguous_id
        stuff = self._metadata.stuff_dataset_id_to_contiguous_id
        self._number = {(True, label): number for number, label in things.items()}
        self._number |= {(False, label): number for number, label in stuff.items()}
        content = json.loads(Path(self._metadata.panoptic_json).read_text("utf-8"))
        self._annotations = {each["image_id"]: each for each in content["annotations"]}
        self._things = {each["id"]: bool(each.get("isthing", 1)) for each in content["categories"]}
        self.reset()

    def reset(self) -> None:
        """Begin a new round."""
        self._counts: list[_Counts] = []

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Match the segments of a batch."""
        for source, output in zip(inputs, outputs, strict=True):
            pixels, segments = output["panoptic_seg"]
            ids = pixels.cpu().numpy()
            if segments is None:
                segments = self._of_encoded(ids)
                ids = np.where(ids == -1, 0, ids + 1)
            predicted = {each["id"]: self._number[bool(each["isthing"]), int(each["category_id"])] for each in segments}
            current = self._annotations[source["image_id"]]
            colors = np.array(Image.open(Path(self._metadata.panoptic_root) / current["file_name"]).convert("RGB"))
            target = colors.astype(np.int64) @ np.array([1, 256, 65536])
            self._counts.append(_matched(target, current["segments_info"], ids.astype(np.int64), predicted))

    def _of_encoded(self, ids: NDArray[Any]) -> list[dict[str, Any]]:
        """Segments of a map whose values are class times the metadata's divisor, plus a number."""
        divisor = self._metadata.label_divisor
        stuff = set(self._metadata.stuff_dataset_id_to_contiguous_id.values())
        things = set(self._metadata.thing_dataset_id_to_contiguous_id.values())
        outcome = []
        for value in np.unique(ids):
            if value == -1:
                continue
            label = int(value) // divisor
            outcome.append(
                {"id": int(value) + 1, "category_id": label, "isthing": label in things and label not in stuff}
            )
        return outcome

    def evaluate(self) -> Any:
        """The metrics; None outside of rank 0."""
        comm.synchronize()
        gathered = comm.gather(self._counts)
        if not comm.is_main_process():
            return None
        total: _Counts = {}
        for number, counts in itertools.chain.from_iterable(each.items() for current in gathered for each in current):
            total[number] = total.get(number, np.zeros(4)) + counts
        results: dict[str, float] = {}
        for suffix, kinds in (("", (True, False)), ("_th", (True,)), ("_st", (False,))):
            current = [counts for number, counts in total.items() if self._things[number] in kinds and counts[1:].any()]
            for name, value in _quality(current).items():
                results[f"{name}{suffix}"] = value
        logging.getLogger(__name__).info("Panoptic Evaluation Results: %s", results)
        return {"panoptic_seg": results}


def _quality(counts: Sequence[NDArray[np.float64]]) -> dict[str, float]:
    """PQ, SQ and RQ, in percent: means over classes of (sum of IoUs, TP, FP, FN)."""
    if not counts:
        return dict.fromkeys(("PQ", "SQ", "RQ"), float("nan"))
    overlap, hit, wrong, missed = np.stack(counts).T
    recognition = hit / (hit + 0.5 * wrong + 0.5 * missed)
    segmentation = np.where(hit > 0, overlap / np.maximum(hit, 1), 0.0)
    values = {"PQ": segmentation * recognition, "SQ": segmentation, "RQ": recognition}
    return {name: 100 * float(each.mean()) for name, each in values.items()}


def _matched(
    target: NDArray[np.int64],
    segments: Iterable[Mapping[str, Any]],
    ids: NDArray[np.int64],
    predicted: Mapping[int, int],
) -> _Counts:
    """By category: the sum of IoUs, and the numbers of matches, of wrong and of missed segments."""
    objects = {each["id"]: each for each in segments}
    pairs, pixels = np.unique(np.stack((target.ravel(), ids.ravel())), axis=1, return_counts=True)
    shared = {(int(a), int(b)): int(count) for (a, b), count in zip(pairs.T, pixels, strict=True)}
    area_of = dict(zip(*(each.tolist() for each in np.unique(ids, return_counts=True)), strict=True))
    true_area = dict(zip(*(each.tolist() for each in np.unique(target, return_counts=True)), strict=True))
    counts: _Counts = {}

    def add(category: int, *values: float) -> None:
        counts[category] = counts.get(category, np.zeros(4)) + np.array(values)

    hit_objects, hit_predictions = set(), set()
    for (a, b), count in shared.items():
        if a not in objects or b not in predicted or objects[a].get("iscrowd", 0):
            continue
        union = true_area[a] + area_of[b] - count - shared.get((0, b), 0)
        if objects[a]["category_id"] == predicted[b] and count / union > 0.5:
            add(predicted[b], count / union, 1, 0, 0)
            hit_objects.add(a)
            hit_predictions.add(b)
    crowds = {each["category_id"]: number for number, each in objects.items() if each.get("iscrowd", 0)}
    for number, each in objects.items():
        if number not in hit_objects and not each.get("iscrowd", 0):
            add(each["category_id"], 0, 0, 0, 1)
    for b, category in predicted.items():
        if b in hit_predictions or b not in area_of:
            continue
        ignored = shared.get((0, b), 0) + (shared.get((crowds[category], b), 0) if category in crowds else 0)
        if ignored / area_of[b] <= 0.5:
            add(category, 0, 0, 1, 0)
    return counts
