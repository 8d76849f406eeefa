"""Contracts of the parts: one small Protocol per kind, checkable at run time.

A part needs no base class, decorator or registration call: a class with these attributes and methods is enough. Models
and heads are ordinary `nn.Module`s. `channels` and `strides` describe feature levels; a parent passes them to the parts
that it builds (`Factory`).

A head that a plugin offers by name declares its contract, for the conformance kit: a class by an attribute,
`contract = "RegionHead"`, or by deriving from the Protocol; a function by its return annotation.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from det_core.structures import Detections, ImageBatch, Prediction, Proposals, Sample, Size, Targets

__all__ = [
    "Analysis",
    "AnchorGenerator",
    "Augmentable",
    "Backbone",
    "BoxHead",
    "BoxPredictor",
    "CascadeBoxPredictor",
    "Compilable",
    "Dataset",
    "DenseHead",
    "Evaluator",
    "Explanation",
    "Exportable",
    "Exported",
    "Exporter",
    "GivenBoxes",
    "HasNMS",
    "Indexed",
    "MaskLoss",
    "Model",
    "OlderWeights",
    "PooledRegionHead",
    "Pooler",
    "Preprocess",
    "ProposalGenerator",
    "ROIHeads",
    "RPNHead",
    "RefinesRegions",
    "RegionHead",
    "Sampler",
    "SegmentMaker",
    "SemanticHead",
    "Transform",
]


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
    """A model, or a part of one, with results that `det_core.predict.AugmentedDetector` cannot merge."""

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


class Exported(NamedTuple):
    """The exported form of a model or of a part, some of whose steps cannot be exported.

    Attributes:
        model: predicts up to those steps; None for the model itself. Ignored for a part.
        constants: tensors that the steps need, by qualified names; extras of every prediction of the file.
        finish: recipe node of a safe part that maps a `Prediction` of the file to one with the steps done.
    """

    model: nn.Module | None = None
    constants: Mapping[str, Tensor] = {}
    finish: Mapping[str, Any] | None = None


@runtime_checkable
class Exportable(Protocol):
    """A model, or a part of one, some of whose steps cannot be exported."""

    def exported(self) -> Exported:
        """Its exported form."""
        ...


@runtime_checkable
class OlderWeights(Protocol):
    """A part of a model with published weights of other names or formats."""

    def older_weights(self, state: Mapping[str, Tensor], path: str) -> tuple[str, dict[str, Tensor]] | None:
        """A note for the load report, and the converted state; None where there is nothing to convert.

        `state` is of the whole model, in which the part is at `path`, such as "roi_heads.mask_head".
        """


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
        resolution: output height and width.
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
        out_dim: output channels.
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


@runtime_checkable
class Dataset(Protocol):
    """Images with or without ground truth.

    Attributes:
        classes: class names, by label.
        evaluators: names of its evaluators, as in a recipe.

    A dataset that skips parts of its files may have the attribute `left_out`, a mapping from reason to count
    ({"annotations that cannot be used": 3}), which training, evaluation and `det data check` report. A dataset with its
    own sampling has the method `sampler(seed)`, which returns a `Sampler` or None.
    """

    classes: Sequence[str]
    evaluators: Sequence[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """The image and its targets as stored, untransformed; raises DataError naming the file if it cannot be read."""


@runtime_checkable
class Indexed(Protocol):
    """A dataset with image sizes and labels available without reading images, as some samplers need."""

    def size_of(self, index: int) -> Size:
        """(height, width) of the image as stored."""

    def labels_of(self, index: int) -> Sequence[int]:
        """The label of each object in the image."""


@runtime_checkable
class Sampler(Protocol):
    """Selects the images of each epoch of a training set. Built with `dataset` and `seed`."""

    def epoch(self, number: int) -> Any:
        """Indices of epoch `number` in order, int64 (K,), at least one; the same for every call and process.

        An epoch depends on nothing but `number`, so that training can resume at any image of any epoch.
        """


@runtime_checkable
class Evaluator(Protocol):
    """Evaluates predictions. Built with `classes`, the names of the labels."""

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image: its prediction, and the sample as stored, both in coordinates of `sample.image`."""

    def state(self) -> Any:
        """The images added so far, picklable, to be merged in another process."""

    def merge(self, states: Sequence[Any]) -> None:
        """Replace the added images by the states of all processes, including this one."""

    def result(self) -> dict[str, float]:
        """{"task/metric": value}, such as "bbox/AP50"; fractions are in [0, 1]."""


@runtime_checkable
class Explanation(Protocol):
    """Explanation of metrics; `det eval` prints it."""

    def as_json(self) -> dict[str, Any]:
        """Entries beside "metrics" and "notes" in the JSON of `det eval`."""

    def show(self) -> None:
        """Print it to a terminal."""

    def write_report(self, folder: Path, title: str, metrics: Mapping[str, float | None], notes: Sequence[str]) -> Path:
        """Write a report with `metrics` and `notes` into `folder`; returns its main file."""


@runtime_checkable
class Analysis(Evaluator, Protocol):
    """An evaluator without metrics that explains those of the others, named "analysis" in its hook.

    `det eval` updates it with each prediction like the other evaluators. `evaluate_files` works without torch.
    """

    def explain(
        self, evaluators: Sequence[Evaluator], model: nn.Module, batches: Callable[[], Iterable[Any]]
    ) -> Explanation:
        """The explanation of all images, in the first process, after the states of all were merged.

        Args:
            evaluators: the other evaluators, after their `result`.
            model: the evaluated model. It predicts again only for options of the analysis that need it.
            batches: the images again, from the first, for such options.
        """

    @staticmethod
    def evaluate_files(
        predictions: Path, annotations: Path, as_json: bool, report: Path | None = None, images: Path | None = None
    ) -> None:
        """Print the metrics of a result file, without a model: `det eval --predictions FILE --annotations FILE`.

        Args:
            predictions: result file in COCO's format.
            annotations: ground-truth file in COCO's format.
            as_json: whether to print JSON instead of a table.
            report: folder of a report, or None.
            images: image folder, for the report.
        """


@runtime_checkable
class Exporter(Protocol):
    """Writes a model to a file that runs without det, and reads that file again.

    Attributes:
        suffixes: file suffixes, such as ".onnx"; of the class itself, for `Detector.load`.
        about: set before `export`: "classes" by label, "category_ids" of the dataset, "recipe", the text of one with
            `model` and `data` or "", and "weights", the file or address that they were read from or "". A model from
            `load` may have the first three as attributes; `det eval` evaluates it then, with the transforms of the data.
        trust: set before `load`; formats whose files run code of their own refuse them where it is False.
    """

    suffixes: Sequence[str]
    about: Mapping[str, Any]
    trust: bool

    def export(self, model: Model, example: ImageBatch, path: Path) -> Path:
        """Write the file; returns where."""

    def load(self, path: Path) -> Model:
        """The written file as a model for prediction only, which has `num_classes`."""


@runtime_checkable
class Transform(Protocol):
    """Any callable from sample to sample; those of torchvision.transforms.v2 are adapted where a recipe names them."""

    def __call__(self, sample: Sample) -> Sample:
        """The transformed sample; the input is unchanged."""
