"""A model as a function from tensors to tensors, the form that all formats write.

Input: `pixels` uint8 (B, 3, H, W), RGB, padded right and bottom to multiples of `divisibility`, and `sizes` int64
(B, 2), (height, width) of each image without its padding; `proposals`, float32 (N, 4), where the example has some.
Output: the tensors named by `Program.outputs`, in order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from det_core.errors import ConfigError
from det_core.models.heads.keypoint import KEYPOINT_HEATMAPS
from det_core.structures import Detections, ImageBatch, Prediction, Proposals, SemanticMap, Size
from torch import Tensor, nn
from torch.nn import functional as F

from det_export import numpy_postprocess
from det_export.batches import Images, counted, for_any_batch
from det_export.postprocess_steps import graph_branches, parts_of, written_for

HEATMAPS = f"detections.{KEYPOINT_HEATMAPS}"
"""The output that holds the heatmaps of keypoints."""
COUNTS = "counts"
"""The output that holds how many rows of the others each image has, of a program for any number of images."""
_CONSTANT = "constants."

__all__ = ["COUNTS", "HEATMAPS", "Program", "flatten", "padded", "unflatten"]


class Program(nn.Module):
    """A model between plain tensors, for a fixed number of images, or for any.

    Args:
        model: model in evaluation mode; `forward(batch)` returns one Prediction per image.
        example: typical batch; it is run once to get the names of the outputs.
        any_batch: whether the number of images is dynamic; outputs are then concatenated, image by image.

    Attributes:
        outputs: names of the tensors that `forward` returns, for several images with the prefix "IMAGE." ("1.boxes");
            with `any_batch` without a prefix, and with `COUNTS` last.
        divisibility: height and width of `pixels` must be multiples of this, in pixels.
        finish: recipe nodes of the steps after the program; see `det_core.contracts.Exportable`.

    Raises:
        ConfigError: the predictions contain a value that is not a tensor (a panoptic map, masks of several sizes), or a
            part of the model loops over images although `any_batch` is set.
    """

    def __init__(self, model: nn.Module, example: ImageBatch, any_batch: bool = False) -> None:
        super().__init__()
        constants, self.finish = parts_of(model)
        self.model, self.batch_size, self.any_batch = written_for(model), len(example), any_batch
        if any_batch:
            for_any_batch(self.model)
        backbone = getattr(self.model, "backbone", None)
        self.divisibility = int(getattr(backbone, "size_divisibility", 1) or 1)
        with torch.no_grad(), graph_branches():
            tensors = self._of_any(example.pixels, torch.tensor(example.sizes)) if any_batch else self._of(example)
        self._names = tuple(tensors)
        self._buffers_of_constants = []
        for index, value in enumerate(constants.values()):
            self.register_buffer(f"constant_{index}", value, persistent=True)
            self._buffers_of_constants.append(f"constant_{index}")
        self.outputs = (*self._names, *(_CONSTANT + name for name in constants))

    def forward(self, pixels: Tensor, sizes: Tensor, *proposals: Tensor) -> tuple[Tensor, ...]:
        """Pixels uint8 (B, 3, H, W), sizes int64 (B, 2) and proposals (N, 4) to the tensors named by `outputs`."""
        tensors = self._of_any(pixels, sizes) if self.any_batch else self._of(self._batch(pixels, sizes, proposals))
        constants = [self.get_buffer(name).clone() for name in self._buffers_of_constants]
        return (*(tensors[name] for name in self._names), *constants)

    def _of(self, batch: ImageBatch) -> dict[str, Tensor]:
        return flatten(self.model(batch))

    def _of_any(self, pixels: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        prediction, counts = counted(self.model(Images(pixels, sizes))[0], len(sizes))
        return {**flatten([prediction]), COUNTS: counts}

    def _batch(self, pixels: Tensor, sizes: Tensor, proposals: Sequence[Tensor]) -> ImageBatch:
        rows: list[Size] = []
        for index in range(self.batch_size):
            height, width = sizes[index, 0].item(), sizes[index, 1].item()
            for side, limit in ((height, pixels.shape[2]), (width, pixels.shape[3])):
                torch._check(side >= 1)
                torch._check(side <= limit)
            rows.append((height, width))  # type: ignore[arg-type]
        image_proposals = tuple(Proposals(boxes=boxes, logits=torch.zeros_like(boxes[:, 0])) for boxes in proposals)
        return ImageBatch(pixels=pixels, sizes=tuple(rows), proposals=image_proposals or None)


def flatten(predictions: Sequence[Prediction]) -> dict[str, Tensor]:
    """The tensors of predictions by name: "boxes", "scores", "labels", "masks", "keypoints", "semantic", extras.

    Raises:
        ConfigError: a prediction contains a value that is not a tensor.
    """
    tensors: dict[str, Tensor] = {}
    for index, prediction in enumerate(predictions):
        prefix = f"{index}." if len(predictions) > 1 else ""
        tensors |= {prefix + name: value for name, value in _of_one(prediction).items()}
    return tensors


def _of_one(prediction: Prediction) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    detections = prediction.detections
    if detections is not None:
        tensors |= {"boxes": detections.boxes, "scores": detections.scores, "labels": detections.labels}
        if detections.masks is not None:
            if not isinstance(detections.masks, Tensor):
                fix = "export another mask head, or run this model in Python"
                raise ConfigError("export", "masks on grids of several sizes are no tensor", "the model has them", fix)
            tensors["masks"] = detections.masks
        if detections.keypoints is not None:
            tensors["keypoints"] = detections.keypoints
        tensors |= {f"detections.{key}": value for key, value in detections.extras.items()}
    if prediction.proposals is not None:
        tensors |= {"proposal_boxes": prediction.proposals.boxes, "proposal_logits": prediction.proposals.logits}
    if prediction.semantic is not None:
        tensors["semantic"] = prediction.semantic.logits
    if prediction.panoptic is not None:
        fix = "give the model `exported`, as det_core.contracts.Exportable describes"
        raise ConfigError("export", "a panoptic map is a list of segments, no tensor", "the model makes one", fix)
    tensors |= {f"extras.{key}": value for key, value in prediction.extras.items()}
    return tensors


def unflatten(tensors: Mapping[str, Tensor], sizes: Sequence[Size]) -> list[Prediction]:
    """The predictions again, one per size; the reverse of `flatten`."""
    constants = {"extras." + n.removeprefix(_CONSTANT): v for n, v in tensors.items() if n.startswith(_CONSTANT)}
    tensors = {name: value for name, value in tensors.items() if not name.startswith(_CONSTANT)}
    if COUNTS in tensors:
        counts = tensors[COUNTS].tolist()
        split = {name: value.split(counts) for name, value in tensors.items() if name != COUNTS}
        images = [{name: parts[i] for name, parts in split.items()} | constants for i in range(len(sizes))]
        return [_prediction(image, size) for image, size in zip(images, sizes, strict=True)]
    many = len(sizes) > 1
    return [
        _prediction({n.removeprefix(p): v for n, v in tensors.items() if n.startswith(p)} | constants, size)
        for index, size in enumerate(sizes)
        for p in [f"{index}." if many else ""]
    ]


def _prediction(tensors: Mapping[str, Tensor], size: Size) -> Prediction:
    prediction = Prediction(extras=_below("extras.", tensors))
    if "boxes" in tensors:
        heatmaps = tensors.get(HEATMAPS)
        if heatmaps is not None:
            decoded = numpy_postprocess.keypoints(
                heatmaps.cpu().float().numpy(), tensors["boxes"].cpu().float().numpy()
            )
            points = torch.from_numpy(decoded).to(heatmaps.device)
            tensors = {name: value for name, value in tensors.items() if name != HEATMAPS} | {"keypoints": points}
        optional: dict[str, Any] = {name: tensors[name] for name in ("masks", "keypoints") if name in tensors}
        detections = Detections(
            boxes=tensors["boxes"],
            labels=tensors["labels"].long(),
            scores=tensors["scores"],
            size=size,
            extras=_below("detections.", tensors),
            **optional,
        )
        prediction = replace(prediction, detections=detections)
    if "proposal_boxes" in tensors:
        proposals = Proposals(boxes=tensors["proposal_boxes"], logits=tensors["proposal_logits"])
        prediction = replace(prediction, proposals=proposals)
    if "semantic" in tensors:
        height, width = size
        prediction = replace(prediction, semantic=SemanticMap(logits=tensors["semantic"][:, :height, :width]))
    return prediction


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def padded(batch: ImageBatch, divisibility: int) -> tuple[Tensor, Tensor]:
    """The inputs of a program: pixels uint8 (B, 3, H, W), H and W multiples of `divisibility`, and sizes (B, 2)."""
    height, width = batch.pixels.shape[-2:]
    pixels = F.pad(batch.pixels, (0, -width % divisibility, 0, -height % divisibility))
    return pixels.to(torch.uint8), torch.tensor(batch.sizes, dtype=torch.int64)
