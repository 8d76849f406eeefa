"""The DensePose branch of a two-stage detector."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from det_core.contracts import Exported, HasNMS, Pooler
from det_core.errors import ConfigError
from det_core.models.parts.levels import select_levels
from det_core.ops.boxes import area
from det_core.ops.roi import ROIPooler
from det_core.recipes import Factory
from det_core.structures import Detections, Polygons, Targets
from torch import Tensor, nn

from det_densepose.losses.charts import DensePoseChartLoss
from det_densepose.losses.regions import Regions
from det_densepose.models.decoder import Decoder
from det_densepose.models.embedder import Embedder, VertexEmbedder
from det_densepose.models.heads import DensePoseV1ConvXHead
from det_densepose.models.predictors import DensePoseChartPredictor
from det_densepose.structures import PREFIX, VERTICES, MeshEmbeddings, has_coarse_parts, has_points

__all__ = ["DensePoseHead", "DensePoseLoss", "DensePosePredictor", "learnable"]


@runtime_checkable
class DensePoseLoss(Protocol):
    """Losses of the outputs of a predictor.

    Attributes:
        uses_masks: whether objects with a mask but without points are used for training.
    """

    uses_masks: bool

    def __call__(self, outputs: Mapping[str, Tensor], regions: Regions, embedder: Any) -> dict[str, Tensor]:
        """{loss name: scalar} of fields (R, C, Z, Z); R is at least 1."""
        ...


@runtime_checkable
class DensePosePredictor(Protocol):
    """Predicts raw maps. Built with `in_channels`."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(P, in_channels, S, S) to {field: (P, C, Z, Z)}."""
        ...


class DensePoseHead(nn.Module):
    """Decoder, convolutions and predictor of DensePose, and the embeddings of meshes where it has any.

    A `det_core.contracts.RegionHead`. Its results are extras of the detections: "det-densepose/" and the name of a
    field, see `det_densepose.structures`.

    Args:
        channels: level -> number of channels, from the backbone.
        strides: level -> stride in pixels, from the backbone.
        num_classes: number of foreground classes; the branch does not depend on it.
        in_features: names of the input levels; by default all up to stride 32.
        pooler: factory of the RoI pooler, called with `strides`; published models have the first version of ROIAlign.
        decoder: factory of the decoder that merges all levels into one map, called with `channels` and `strides`;
            null: each region is pooled from the level of its size.
        densepose_head: factory of the head, called with `in_channels`; its result has `out_channels`.
        densepose_predictor: factory of the predictor, called with `in_channels`.
        embedder: name of a mesh -> factory of its embedder, called with `embed_dim`; for continuous surface embeddings.
        mesh_of_label: mesh of each class, in the order of labels; empty if all classes have the same mesh.
        loss: losses of the branch; null for `DensePoseChartLoss`.
        min_iou: IoU of a region with its object above which it is used for training.
    """

    contract = "RegionHead"
    bodies: Path | None = None
    body: str = "smpl_27554"

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        in_features: Sequence[str] | None = None,
        pooler: Factory[Pooler] = Factory(ROIPooler, resolution=28, pooling="ROIAlign", sampling_ratio=2),
        decoder: Factory[Decoder] | None = Factory(Decoder),
        densepose_head: Factory[nn.Module] = Factory(DensePoseV1ConvXHead),
        densepose_predictor: Factory[DensePosePredictor] = Factory(DensePoseChartPredictor),
        embedder: Mapping[str, Factory[VertexEmbedder]] | None = None,
        mesh_of_label: Sequence[str] = (),
        loss: DensePoseLoss | None = None,
        min_iou: float = 0.7,
    ) -> None:
        super().__init__()
        self.in_features = names = select_levels("DensePoseHead", channels, in_features, strides)
        self.decoder: nn.Module | None = None
        width, levels = channels[names[0]], [strides[name] for name in names]
        if decoder is not None:
            used = {name: channels[name] for name in names}, {name: strides[name] for name in names}
            built = Factory.of(decoder)(channels=used[0], strides=used[1])
            self.decoder, width, levels = built, built.out_channels, levels[:1]
        self.pooler = cast(nn.Module, Factory.of(pooler)(strides=levels))
        self.densepose_head: Any = Factory.of(densepose_head)(in_channels=width)
        built_predictor = Factory.of(densepose_predictor)(in_channels=self.densepose_head.out_channels)
        self.densepose_predictor = cast(nn.Module, built_predictor)
        self.embedder: Embedder | None = None
        if embedder:
            dim = require_embedding("DensePoseHead.densepose_predictor", self.densepose_predictor)
            self.embedder = Embedder(embedder, dim)
        self.mesh_of_label = _meshes("DensePoseHead.mesh_of_label", mesh_of_label, tuple(embedder or ()), num_classes)
        self.loss: DensePoseLoss = loss or DensePoseChartLoss()
        self.min_iou = min_iou

    def forward(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> dict[str, Tensor]:
        """{field: float (sum of P_i, C, Z, Z)} for boxes (P_i, 4) of each image."""
        levels = [features[name] for name in self.in_features]
        if self.decoder is not None:
            levels = [self.decoder(dict(zip(self.in_features, levels, strict=True)))]
        outputs: dict[str, Tensor] = self.densepose_predictor(self.densepose_head(self.pooler(levels, boxes)))
        return outputs

    def losses(
        self, features: Mapping[str, Tensor], proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """The losses of the regions that can be learned from; 0 that reaches every logit where there is none."""
        if self.embedder is not None:
            self.embedder.prepare()
        rows_per_image = [
            learnable(boxes, objects, self.min_iou, self.loss.uses_masks)
            for boxes, objects in zip(proposals, targets, strict=True)
        ]
        boxes = [image_boxes[rows] for image_boxes, rows in zip(proposals, rows_per_image, strict=True)]
        regions = Regions(boxes, [objects[rows] for objects, rows in zip(targets, rows_per_image, strict=True)])
        outputs = self(features, boxes)
        return self.loss(outputs, regions, self.embedder)

    def exported(self) -> Exported:
        """As `det_core.contracts.Exportable`: the embeddings of vertices stand in a file as constants."""
        if self.embedder is None:
            return Exported()
        constants = {VERTICES + name: self.embedder(name) for name in self.embedder.names}
        node = {"type": "det_densepose.results.exporting:AttachMeshes", "mesh_of_label": list(self.mesh_of_label)}
        return Exported(constants=constants, finish=node)

    def predict(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections with the fields of the predictor as extras, float32 (N, C, Z, Z), raw."""
        outputs = self(features, [each.boxes for each in detections])
        counts = [each.boxes.shape[0] for each in detections]
        per_image = {field: value.float().split(counts) for field, value in outputs.items()}
        vertices: dict[str, Tensor] = {}
        if self.embedder is not None and not torch.compiler.is_compiling():
            vertices = {name: self.embedder(name) for name in self.embedder.names}
        described = []
        for i, image_detections in enumerate(detections):
            extras = {f"{PREFIX}{field}": values[i] for field, values in per_image.items()}
            key = f"{PREFIX}embedding"
            if vertices and key in extras:
                extras[key] = MeshEmbeddings.of(extras[key], vertices, self.mesh_of_label)
            described.append(replace(image_detections, extras={**image_detections.extras, **extras}))
        return described

    def augmented(self, model: nn.Module, sizes: Sequence[int], max_size: int, flip: bool) -> nn.Module:
        """Test-time augmentation of `model`, of which this is a part; see `det_core.contracts.Augmentable`."""
        from det_densepose.augmented import AugmentedDensePose

        if not isinstance(model, HasNMS):
            raise ConfigError("--tta", "needs a model with settings of suppression", f"{type(model).__name__} has none")
        nms = cast(Any, model.nms)
        limits = (nms.iou_threshold, nms.max_detections)
        return AugmentedDensePose(model, sizes, max_size, flip, (), self.bodies, self.body, *limits)


@torch.no_grad()
def learnable(boxes: Tensor, targets: Targets, min_iou: float, masks: bool) -> Tensor:
    """The regions of an image that are used for training, bool (P,).

    Those that overlap their object by more than `min_iou`, if it has points; or, with `masks`, a mask or coarse parts.

    Args:
        boxes: boxes of the regions, float32 (P, 4).
        targets: matched object of each region, row by row.
        min_iou: minimum IoU of a region and the box of its object, exclusive.
        masks: whether to include objects without points.
    """
    annotated = has_points(targets)
    if masks:
        annotated = annotated | has_coarse_parts(targets) | _has_mask(targets).to(annotated.device)
    return annotated & (_paired_iou(boxes, targets.boxes) > min_iou)


def _has_mask(targets: Targets) -> Tensor:
    if isinstance(targets.masks, Polygons):
        return targets.masks.rings > 0
    if targets.masks is None:
        return torch.zeros(len(targets), dtype=torch.bool)
    return targets.masks.flatten(1).any(1)


def require_embedding(where: str, predictor: object) -> int:
    """The dimension of the embeddings of a predictor; ConfigError if it has none."""
    dim = getattr(predictor, "embed_dim", None)
    if not isinstance(dim, int):
        fix = "use det_densepose.models:DensePoseEmbeddingPredictor, or leave out `embedder`"
        raise ConfigError(where, "must embed pixels where there is an embedder", f"got {type(predictor).__name__}", fix)
    return dim


def _paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes (N, 4), row by row, to (N,)."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    return shared / (area(a) + area(b) - shared).clamp(min=torch.finfo(a.dtype).tiny)


def _meshes(where: str, meshes: Sequence[str], names: tuple[str, ...], num_classes: int) -> tuple[str, ...]:
    """The mesh of each class, checked; () without meshes."""
    if not names and not meshes:
        return ()
    if not meshes and len(names) == 1:
        return names * num_classes
    if len(meshes) != num_classes or not set(meshes) <= set(names):
        found = f"got {list(meshes)} for {num_classes} classes and the meshes {', '.join(names) or 'none'}"
        raise ConfigError(where, "must name one mesh of the embedder for each class", found)
    return tuple(meshes)
