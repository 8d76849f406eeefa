"""Heads and their parts."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from det_core.structures import Detections, Proposals, Size, Targets

__all__ = ["AnchorGenerator", "BoxHead", "BoxPredictor", "CascadeBoxPredictor", "DenseHead", "MaskLoss"]
__all__ += ["PooledRegionHead", "Pooler", "ProposalGenerator", "ROIHeads", "RPNHead", "RefinesRegions", "RegionHead"]
__all__ += ["SemanticHead"]


@runtime_checkable
class ProposalGenerator(Protocol):
    """Proposes regions that may contain an object. Built with `channels` and `strides`, both by level."""

    def forward(
        self, features: Mapping[str, Tensor], sizes: Sequence[Size], targets: Sequence[Targets] | None = None
    ) -> tuple[list[Proposals], dict[str, Tensor]]:
        """Proposals of each image by descending objectness, and losses ({} without `targets`)."""


@runtime_checkable
class AnchorGenerator(Protocol):
    """Generates anchors on feature maps. Built with `strides`, by level.

    Attributes:
        per_pixel: anchors per feature pixel, by level.
        box_dim: numbers per anchor: 4, or 5 for rotated ones.
    """

    per_pixel: Sequence[int]
    box_dim: int

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Anchors of each level (B, C, H, W): float32 (H * W * per_pixel, box_dim), by row, column, then anchor."""


@runtime_checkable
class RPNHead(Protocol):
    """Objectness and box offsets of anchors. Built with `in_channels`, `anchors` per feature pixel, and `box_dim`."""

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Levels (B, C, H, W) to logits (B, H * W * anchors) and offsets (B, H * W * anchors, box_dim) by level."""


@runtime_checkable
class Pooler(Protocol):
    """Pools features of regions. Built with `strides` of its levels, finest first.

    Attributes:
        resolution: height and width of pooled features, in cells.
        box_dim: numbers per region: 4, or 5 for rotated ones.
    """

    resolution: int
    box_dim: int

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Features (B, C, H_i, W_i) and boxes (P_b, box_dim) of each image to (sum of P_b, C, R, R)."""


@runtime_checkable
class ROIHeads(Protocol):
    """The second stage: from proposals to detections. Built with `channels`, `strides` and `num_classes`."""

    def losses(
        self,
        features: Mapping[str, Tensor],
        proposals: Sequence[Proposals],
        targets: Sequence[Targets],
        sizes: Sequence[Size],
    ) -> dict[str, Tensor]:
        """{loss name: scalar} over the batch; `sizes` are the images' sizes."""

    def predict(
        self, features: Mapping[str, Tensor], proposals: Sequence[Proposals], sizes: Sequence[Size]
    ) -> list[Detections]:
        """Detections of each image; `sizes` are the images' sizes, for clipping."""

    def predict_given_boxes(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections of each image with masks, keypoints and extras filled in; unchanged without such heads."""


@runtime_checkable
class BoxHead(Protocol):
    """Reduces the pooled features of each region to a vector. Built with `in_channels` and `resolution`, their side.

    Attributes:
        out_dim: number of features per region.
    """

    out_dim: int

    def forward(self, pooled: Tensor) -> Tensor:
        """(P, in_channels, resolution, resolution) to (P, out_dim)."""


@runtime_checkable
class BoxPredictor(Protocol):
    """Class and box of each region. Built with `in_dim` and `num_classes`, which is the background's label.

    Attributes:
        box_dim: numbers per box: 4, or 5 for rotated ones.
    """

    box_dim: int

    def forward(self, x: Tensor) -> Any:
        """(P, in_dim) to the input of the two methods below."""

    def losses(self, outputs: Any, proposals: Tensor, labels: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """{loss name: scalar}; proposals (P, 4 or 5), labels int64 (P,), matched boxes, any for background."""

    def detect(self, outputs: Any, proposals: Sequence[Tensor], sizes: Sequence[Size]) -> list[Detections]:
        """Detections of each image, best first; `outputs` are those of all images' proposals, concatenated."""


@runtime_checkable
class CascadeBoxPredictor(BoxPredictor, Protocol):
    """A stage of a cascade. Also built with `class_agnostic` and `box_weights`, if it takes them."""

    def scores(self, outputs: Any) -> Tensor:
        """Float32 (P, num_classes + 1) in [0, 1], the background last."""

    def decode(self, outputs: Any, proposals: Tensor) -> Tensor:
        """Decoded boxes of regions (P, box_dim): float32 (P, 1, box_dim), one for all classes."""

    def select(self, boxes: Tensor, scores: Tensor, counts: Sequence[int], sizes: Sequence[Size]) -> list[Detections]:
        """Detections from boxes (P, 1, box_dim) and scores (P, num_classes + 1), `counts` regions per image."""


@runtime_checkable
class RefinesRegions(Protocol):
    """A box predictor whose boxes extra heads can be trained on."""

    def predict_boxes_for_labels(self, outputs: Any, proposals: Tensor, labels: Tensor) -> Tensor:
        """The box of each region (P, box_dim) for its label int64 (P,); arbitrary for background."""


@runtime_checkable
class RegionHead(Protocol):
    """Predicts masks, keypoints ... of given regions. Built with `channels`, `strides` and `num_classes`."""

    def losses(
        self, features: Mapping[str, Tensor], proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """{loss name: scalar}; the foreground regions of each image, (P_i, 4 or 5), and their targets, row for row."""

    def predict(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections of each image with this head's own field or extra filled in."""


@runtime_checkable
class PooledRegionHead(RegionHead, Protocol):
    """A region head that also takes pooled features, which a second stage with res5 shares between heads."""

    def pooled_losses(
        self, pooled: Tensor, proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """`losses` from features (sum of P_i, C, R, R) of the foreground regions."""

    def pooled_predict(self, pooled: Tensor, detections: Sequence[Detections]) -> list[Detections]:
        """`predict` from features (sum of N_i, C, R, R) of the detections."""


@runtime_checkable
class MaskLoss(Protocol):
    """Loss of predicted masks against the ground truth."""

    def __call__(self, logits: Tensor, proposals: Sequence[Tensor], targets: Sequence[Targets]) -> Tensor:
        """The loss, a scalar; without regions 0, with a gradient for every logit.

        Logits (P, num_classes or 1, S, S) of the regions of all images, concatenated; the boxes of each image, (P_i,
        4), and their targets, row for row.
        """


@runtime_checkable
class DenseHead(Protocol):
    """A one-stage head (RetinaNet, FCOS, TensorMask). Built with `channels`, `strides` and `num_classes`."""

    def forward(self, features: Mapping[str, Tensor]) -> Any:
        """A NamedTuple of tensors, the input of the two methods below."""

    def losses(self, outputs: Any, sizes: Sequence[Size], targets: Sequence[Targets]) -> dict[str, Tensor]:
        """{loss name: scalar} over the batch."""

    def decode(self, outputs: Any, sizes: Sequence[Size]) -> list[Detections]:
        """The detections of each image."""


@runtime_checkable
class SemanticHead(Protocol):
    """Classifies every pixel. Built with `channels`, `strides` and `num_classes`."""

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Class logits, float32 (B, num_classes, H, W) at the size of the padded batch."""

    def losses(self, features: Mapping[str, Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """{loss name: scalar} over the batch; the classes of each image, int64 (H_i, W_i)."""
