"""Models, their backbones, and what predictions and weights ask of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from det_core.structures import Detections, ImageBatch, Prediction, Targets

__all__ = ["Augmentable", "Backbone", "Compilable", "GivenBoxes", "HasNMS", "Model", "OlderWeights", "Preprocess"]
__all__ += ["SegmentMaker"]


@runtime_checkable
class Backbone(Protocol):
    """Turns normalized images into feature maps.

    Attributes:
        channels: level -> number of channels, finest level first.
        strides: level -> input pixels per feature pixel.
        size_divisibility: divisor of the input's height and width; 1 for any size.
        exact_sizes: optional, True by default. False where levels may be smaller than ceil(H / stride), as those of an
            HRFPN, which average rows and columns that do not divide.
    """

    channels: Mapping[str, int]
    strides: Mapping[str, int]
    size_divisibility: int

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Float (B, 3, H, W) to {level: (B, channels[level], ceil(H / stride), ceil(W / stride))}, finest first.

        With `exact_sizes = False` height and width may be smaller.
        """


@runtime_checkable
class Preprocess(Protocol):
    """Normalizes a batch of RGB images for a backbone. Built with `divisibility`."""

    def forward(self, batch: ImageBatch) -> Tensor:
        """Float32 (B, 3, H, W), H and W multiples of `divisibility`; zeros outside each image."""


@runtime_checkable
class Model(Protocol):
    """A complete detector: normalization, network, losses and decoding."""

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`: {loss name: scalar}, already weighted, to be summed. Without: one Prediction per image.

        The argument decides, not `self.training`, so a validation loss is an ordinary call. Predictions are in
        coordinates of the input images.
        """


@runtime_checkable
class Augmentable(Protocol):
    """A model, or a part of one, with results that the augmentation of det-inspect cannot merge."""

    def augmented(self, model: Any, sizes: Sequence[int], max_size: int, flip: bool) -> Any:
        """`model` with test-time augmentation over several views; see `det_core.predict.Detector.augmented`."""


@runtime_checkable
class GivenBoxes(Protocol):
    """A model that predicts masks, keypoints ... of given boxes, averaged over views in test-time augmentation."""

    def predict_given_boxes(self, batch: ImageBatch, detections: Sequence[Detections]) -> list[Detections]:
        """The detections of each image, in coordinates of `batch`, with masks, keypoints and extras filled in."""


@runtime_checkable
class HasNMS(Protocol):
    """A detector with readable NMS settings, for example for test-time augmentation.

    Attributes:
        nms: settings with `iou_threshold` and `max_detections`, see `det_core.models.NMS`.
    """

    @property
    def nms(self) -> Any:
        """The settings."""


@runtime_checkable
class Compilable(Protocol):
    """A model with networks, tensors in and tensors out, that can be compiled separately from its decoding."""

    def networks(self) -> Sequence[Any]:
        """The modules (`nn.Module`) to compile, such as the backbone and the dense heads."""


@runtime_checkable
class SegmentMaker(Protocol):
    """A model that merges its other predictions into segments, at any size."""

    def with_segments(self, prediction: Prediction) -> Prediction:
        """The prediction with segments merged from its other parts, at their size.

        Where an image was resized for the model, this is called again at the size of the stored image, so that segments
        have its edges, and areas count its pixels.
        """


@runtime_checkable
class OlderWeights(Protocol):
    """A part of a model with published weights of other names or formats."""

    def older_weights(self, state: Mapping[str, Tensor], path: str) -> tuple[str, dict[str, Tensor]] | None:
        """A note for the load report, and the converted state; None where there is nothing to convert.

        `state` is of the whole model, in which the part is at `path`, such as "roi_heads.mask_head".
        """
