"""AP and AR of boxes, masks and keypoints, as `detectron2.evaluation.coco_evaluation`; by pycocotools."""

import contextlib
import copy
import io
import itertools
import json
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from det_detectron2.layer.data import MetadataCatalog
from det_detectron2.layer.data.datasets.coco import convert_to_coco_json
from det_detectron2.layer.evaluation.evaluator import DatasetEvaluator
from det_detectron2.layer.structures import Boxes, BoxMode, Instances, pairwise_iou
from det_detectron2.layer.utils import comm
from det_detectron2.layer.utils.logger import create_small_table

__all__ = ["COCOEvaluator", "instances_to_coco_json"]

_NAMES = {
    "bbox": ("AP", "AP50", "AP75", "APs", "APm", "APl"),
    "segm": ("AP", "AP50", "AP75", "APs", "APm", "APl"),
    "keypoints": ("AP", "AP50", "AP75", "APm", "APl"),
}


class COCOEvaluator(DatasetEvaluator):
    """COCO's metrics of a data set; one that is not of a COCO file is written as one first.

    Args:
        dataset_name: name of a registered data set, with `json_file` in its metadata or a `DatasetCatalog` entry.
        tasks: tasks among "bbox", "segm" and "keypoints"; None evaluates all that the predictions contain.
        distributed: whether to gather the predictions of all processes; False evaluates those of each process.
        output_dir: output folder of predictions and of the converted COCO file.
        max_dets_per_image: maximum detections per image and class: one number, or the three of COCO's recalls.
        use_fast_impl: accepted; there is one implementation.
        kpt_oks_sigmas: OKS sigmas of the keypoints; COCO's by default.
        allow_cached_coco: whether to reuse a COCO file converted earlier.
    """

    def __init__(
        self,
        dataset_name: str,
        tasks: Any = None,
        distributed: bool = True,
        output_dir: str | None = None,
        *,
        max_dets_per_image: int | Sequence[int] | None = None,
        use_fast_impl: bool = True,
        kpt_oks_sigmas: Sequence[float] = (),
        allow_cached_coco: bool = True,
    ) -> None:
        self._logger = logging.getLogger(__name__)
        self._distributed, self._output_dir = distributed, output_dir
        limit = 100 if max_dets_per_image is None else max_dets_per_image
        self._max_dets_per_image = [1, 10, limit] if isinstance(limit, int) else list(limit)
        sigmas = kpt_oks_sigmas
        if tasks is not None and hasattr(tasks, "MODEL"):
            self._logger.warning("COCOEvaluator takes tasks, such as ('bbox', 'segm'), in place of a cfg")
            sigmas = tasks.TEST.KEYPOINT_OKS_SIGMAS or kpt_oks_sigmas
            tasks = None
        self._tasks: tuple[str, ...] | None = None if tasks is None else tuple(tasks)
        self._kpt_oks_sigmas = sigmas
        self._cpu_device = torch.device("cpu")
        self._metadata = MetadataCatalog.get(dataset_name)
        if not hasattr(self._metadata, "json_file"):
            if output_dir is None:
                raise ValueError(
                    f"output_dir must be given: {dataset_name!r} has no json_file, and one is written there"
                )
            path = str(Path(output_dir) / f"{dataset_name}_coco_format.json")
            self._metadata.json_file = path
            convert_to_coco_json(dataset_name, path, allow_cached=allow_cached_coco)
        with contextlib.redirect_stdout(io.StringIO()):
            self._coco_api = COCO(str(self._metadata.json_file))
        # The file of a test set has images alone.
        self._do_evaluation = "annotations" in self._coco_api.dataset
        self._predictions: list[dict[str, Any]] = []
        self._results: OrderedDict[str, Any] = OrderedDict()

    def reset(self) -> None:
        """Begin a new round."""
        self._predictions = []

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Keep the predictions of a batch; inputs have "image_id"."""
        for source, output in zip(inputs, outputs, strict=True):
            matches: dict[str, Any] = {"image_id": source["image_id"]}
            if "instances" in output:
                current = output["instances"].to(self._cpu_device)
                matches["instances"] = instances_to_coco_json(current, source["image_id"])
            if "proposals" in output:
                matches["proposals"] = output["proposals"].to(self._cpu_device)
            if len(matches) > 1:
                self._predictions.append(matches)

    def evaluate(self, img_ids: Sequence[int] | None = None) -> Any:
        """{"bbox": {"AP": ..., "AP50", ..., "AP-NAME"}, ...}, in percent; None outside of rank 0.

        Args:
            img_ids: ids of the images to evaluate; None for all.
        """
        predictions = self._predictions
        if self._distributed:
            comm.synchronize()
            predictions = list(itertools.chain(*comm.gather(self._predictions, dst=0)))
            if not comm.is_main_process():
                return {}
        if not predictions:
            self._logger.warning("[COCOEvaluator] Did not receive valid predictions.")
            return {}
        if self._output_dir:
            Path(self._output_dir).mkdir(parents=True, exist_ok=True)
            torch.save(predictions, Path(self._output_dir) / "instances_predictions.pth")
        self._results = OrderedDict()
        if "proposals" in predictions[0]:
            self._eval_box_proposals(predictions)
        if "instances" in predictions[0]:
            self._eval_predictions(predictions, img_ids=img_ids)
        return copy.deepcopy(self._results)

    def _tasks_from_predictions(self, predictions: Sequence[Mapping[str, Any]]) -> list[str]:
        tasks = {"bbox"}
        for each in predictions:
            tasks |= {task for task, key in (("segm", "segmentation"), ("keypoints", "keypoints")) if key in each}
        return sorted(tasks)

    def _eval_predictions(self, predictions: Sequence[Any], img_ids: Sequence[int] | None = None) -> None:
        results = list(itertools.chain(*[each["instances"] for each in predictions]))
        tasks = self._tasks or self._tasks_from_predictions(results)
        if hasattr(self._metadata, "thing_dataset_id_to_contiguous_id"):
            numbers = self._metadata.thing_dataset_id_to_contiguous_id
            labels = list(numbers.values())
            count = len(labels)
            assert min(labels) == 0, labels
            assert max(labels) == count - 1, labels
            back = {label: number for number, label in numbers.items()}
            for each in results:
                label = each["category_id"]
                assert label < count, (
                    f"A prediction has class={label}, but the dataset only has {count} classes "
                    "and predicted class id should be in [0, {}].".format(count - 1)
                )
                each["category_id"] = back[label]
        if self._output_dir:
            text = json.dumps(results)
            (Path(self._output_dir) / "coco_instances_results.json").write_text(text, "utf-8")
        if not self._do_evaluation:
            self._logger.info("Annotations are not available for evaluation.")
            return
        for task in sorted(tasks):
            self._results[task] = self._derive_coco_results(
                self._evaluated(results, task, img_ids) if results else None,
                task,
                class_names=self._metadata.get("thing_classes"),
            )

    def _evaluated(self, results: list[dict[str, Any]], task: str, img_ids: Sequence[int] | None) -> COCOeval:
        if task == "segm":
            # Without boxes areas are those of the masks.
            results = [{key: value for key, value in each.items() if key != "bbox"} for each in results]
        with contextlib.redirect_stdout(io.StringIO()):
            matches = COCOeval(self._coco_api, self._coco_api.loadRes(copy.deepcopy(results)), task)
            if task == "keypoints":
                if self._kpt_oks_sigmas:
                    matches.params.kpt_oks_sigmas = np.array(self._kpt_oks_sigmas)
                source = next((len(each["keypoints"]) // 3 for each in results if "keypoints" in each), 0)
                expected = len(matches.params.kpt_oks_sigmas)
                assert source == expected, (
                    f"[COCOEvaluator] Prediction contain {source} keypoints. Ground truth has {expected} sigmas: give "
                    "kpt_oks_sigmas, one for each keypoint"
                )
            else:
                matches.params.maxDets = self._max_dets_per_image
            if img_ids is not None:
                matches.params.imgIds = img_ids
            matches.evaluate()
            matches.accumulate()
        summary = io.StringIO()
        with contextlib.redirect_stdout(summary):
            _summarize(matches, task)
        self._logger.info("Evaluation results for %s:\n%s", task, summary.getvalue())
        return matches

    def _derive_coco_results(
        self, coco_eval: COCOeval | None, iou_type: str, class_names: Sequence[str] | None = None
    ) -> dict[str, float]:
        """Metrics in percent by name, of single classes as "AP-NAME"."""
        names = _NAMES[iou_type]
        if coco_eval is None:
            self._logger.warning("No predictions from the model!")
            return dict.fromkeys(names, float("nan"))
        values = {
            name: float(coco_eval.stats[i] * 100 if coco_eval.stats[i] >= 0 else "nan") for i, name in enumerate(names)
        }
        self._logger.info("Evaluation results for %s: \n%s", iou_type, create_small_table(values))
        if class_names is None or len(class_names) <= 1:
            return values
        precisions = coco_eval.eval["precision"]
        assert len(class_names) == precisions.shape[2]
        for label, name in enumerate(class_names):
            current = precisions[:, :, label, 0, -1]
            current = current[current > -1]
            values[f"AP-{name}"] = float(current.mean() * 100) if current.size else float("nan")
        return values

    def _eval_box_proposals(self, predictions: Sequence[Any]) -> None:
        """Average recall of proposals: "box_proposals"."""
        matches = {}
        for limit in (100, 1000):
            for area, suffix in (("all", ""), ("small", "s"), ("medium", "m"), ("large", "l")):
                matches[f"AR{suffix}@{limit}"] = 100 * _recall_of_proposals(predictions, self._coco_api, area, limit)
        self._logger.info("Proposal metrics: \n%s", create_small_table(matches))
        self._results["box_proposals"] = matches


def _summarize(evaluation: COCOeval, task: str) -> None:
    """pycocotools' summary, whose first line is for 100 detections whatever the limit is."""
    limit = evaluation.params.maxDets[-1]
    if task == "keypoints" or limit == 100:
        evaluation.summarize()
        return
    precision = evaluation.eval["precision"]
    thresholds = evaluation.params.iouThrs

    def mean(area: int, iou: float | None = None) -> float:
        values = precision if iou is None else precision[np.isclose(thresholds, iou)]
        values = values[:, :, :, area, -1]
        values = values[values > -1]
        return float(values.mean()) if values.size else -1.0

    evaluation.stats = np.array([mean(0), mean(0, 0.5), mean(0, 0.75), mean(1), mean(2), mean(3)])


def instances_to_coco_json(instances: Instances, img_id: Any) -> list[dict[str, Any]]:
    """The detections of an image as rows of COCO's results; labels stay as they are."""
    if len(instances) == 0:
        return []
    boxes = instances.pred_boxes.tensor.numpy()
    boxes = BoxMode.convert(boxes, BoxMode.XYXY_ABS, BoxMode.XYWH_ABS).tolist()
    scores, labels = instances.scores.tolist(), instances.pred_classes.tolist()
    rows = [
        {"image_id": img_id, "category_id": label, "bbox": box, "score": score}
        for box, score, label in zip(boxes, scores, labels, strict=True)
    ]
    if instances.has("pred_masks"):
        for row, mask in zip(rows, instances.pred_masks, strict=True):
            encoded = coco_mask.encode(np.array(mask[:, :, None], order="F", dtype="uint8"))[0]
            row["segmentation"] = {**encoded, "counts": encoded["counts"].decode("utf-8")}
    if instances.has("pred_keypoints"):
        for row, points in zip(rows, instances.pred_keypoints, strict=True):
            # COCO counts the corners of pixels, these are in pixels whose middles are at a half.
            moved = points.clone()
            moved[:, :2] -= 0.5
            row["keypoints"] = moved.flatten().tolist()
    return rows


_AREAS = {"all": (0, 1e5**2), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e5**2)}


def _recall_of_proposals(predictions: Sequence[Any], coco_api: COCO, area: str, limit: int) -> float:
    """The mean over IoUs of 0.5 to 0.95 of the share of objects that a proposal of their own overlaps as much."""
    overlaps, count = [torch.zeros(0)], 0
    low, high = _AREAS[area]
    for each in predictions:
        proposals = each["proposals"]
        order = proposals.objectness_logits.sort(descending=True)[1][:limit]
        boxes = proposals.proposal_boxes[order]
        objects = coco_api.loadAnns(coco_api.getAnnIds(imgIds=[each["image_id"]]))
        objects = [current for current in objects if current["iscrowd"] == 0 and low <= current["area"] <= high]
        count += len(objects)
        if not objects or len(boxes) == 0:
            continue
        corners = [BoxMode.convert(current["bbox"], BoxMode.XYWH_ABS, BoxMode.XYXY_ABS) for current in objects]
        pairs = pairwise_iou(boxes, Boxes(torch.as_tensor(corners, dtype=torch.float32)))
        best = torch.zeros(len(objects))
        for place in range(min(len(boxes), len(objects))):
            flat = int(pairs.argmax())
            row, column = divmod(flat, len(objects))
            if pairs[row, column] < 0:
                break
            best[place] = pairs[row, column]
            pairs[row, :], pairs[:, column] = -1, -1
        overlaps.append(best)
    matches = torch.cat(overlaps)
    steps = torch.arange(0.5, 0.95 + 1e-5, 0.05)
    return float(torch.stack([(matches >= step).float().sum() / max(count, 1) for step in steps]).mean())
