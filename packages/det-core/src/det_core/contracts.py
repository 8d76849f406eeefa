"""What each kind of part must be: one small Protocol per kind, checkable at run time.

A part needs no base class, decorator or registration call: a class with these attributes and methods is enough. Models
and heads are ordinary `nn.Module`s. `channels` and `strides` are how parts learn of each other; a parent passes them to
the parts that it builds (`Factory`).

A head that a plugin offers by name declares which contract it keeps, for the conformance kit: a class by an attribute,
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
    """Turns normalised images into feature maps.

    Attributes:
        channels: level -> number of channels, finest level first.
        strides: level -> input pixels per feature pixel.
        size_divisibility: the input's height and width must be multiples of this; 1 where any size will do.
        exact_sizes: optional, True where it is absent. False where levels may be smaller than ceil(H / stride), as
            those of an HRFPN are, which average rows and columns that do not divide.
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
    """Brings a batch of RGB images into the range that a backbone was trained for. Built with `divisibility`."""

    def forward(self, batch: ImageBatch) -> Tensor:
        """Float32 (B, 3, H, W), H and W multiples of `divisibility`; zeros outside each image."""


@runtime_checkable
class Model(Protocol):
    """A whole detector: normalisation, network, losses and decoding."""

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`: {loss name: scalar}, already weighted, to be summed. Without: one Prediction per image.

        The argument decides, not `self.training`, so a validation loss is an ordinary call. Predictions are in the
        pixels of the images as given.
        """


@runtime_checkable
class Augmentable(Protocol):
    """A model, or a part of one, with results that `det_core.predict.AugmentedDetector` cannot put together."""

    def augmented(self, model: Any, sizes: Sequence[int], max_size: int, flip: bool) -> Any:
        """`model` as it looks at images as stored in several views; see `det_core.predict.Detector.augmented`."""


@runtime_checkable
class GivenBoxes(Protocol):
    """A model with masks, keypoints ... of given boxes, which test-time augmentation averages over its views."""

    def predict_given_boxes(self, batch: ImageBatch, detections: Sequence[Detections]) -> list[Detections]:
        """The detections of each image, in the pixels of `batch`, with masks, keypoints and extras filled in."""


@runtime_checkable
class HasNMS(Protocol):
    """A detector whose settings of suppression others can read, as test-time augmentation does.

    Attributes:
        nms: has `iou_threshold` and `max_detections`, see `det_core.models.NMS`.
    """

    @property
    def nms(self) -> Any:
        """The settings."""


@runtime_checkable
class Compilable(Protocol):
    """A model whose networks, tensors in and tensors out, can be compiled apart from its decoding."""

    def networks(self) -> Sequence[Any]:
        """The modules (`nn.Module`) to compile, such as the backbone and the dense heads."""


@runtime_checkable
class SegmentMaker(Protocol):
    """A model whose segments are made of other things that it predicts, and so at any size."""

    def with_segments(self, prediction: Prediction) -> Prediction:
        """The prediction with the segments that its other parts make, in their pixels.

        Where an image was resized for the model, it is asked again once these are at the size of the stored image, so
        that segments have its edges, and areas count its pixels.
        """


class Exported(NamedTuple):
    """What stands in an exported file for a model or a part of one, some of whose steps no graph can hold.

    Attributes:
        model: predicts what comes before those steps; None for the model itself. That of a part is not looked at.
        constants: tensors that the steps need, by qualified names; they are extras of every prediction of the file.
        finish: the node of a safe part that takes a `Prediction` of the file and returns it with the steps done.
    """

    model: nn.Module | None = None
    constants: Mapping[str, Tensor] = {}
    finish: Mapping[str, Any] | None = None


@runtime_checkable
class Exportable(Protocol):
    """A model, or a part of one, some of whose steps no graph can hold."""

    def exported(self) -> Exported:
        """What stands for it in a file."""
        ...


@runtime_checkable
class OlderWeights(Protocol):
    """A part of a model whose published weights once had other names or another form."""

    def older_weights(self, state: Mapping[str, Tensor], path: str) -> tuple[str, dict[str, Tensor]] | None:
        """What has been done, for the load report, and the state as it is now; None where there is nothing to do.

        `state` is of the whole model, in which the part stands at `path`, such as "roi_heads.mask_head".
        """


@runtime_checkable
class ProposalGenerator(Protocol):
    """Finds regions that may hold an object. Built with `channels` and `strides`, both by level."""

    def forward(
        self, features: Mapping[str, Tensor], sizes: Sequence[Size], targets: Sequence[Targets] | None = None
    ) -> tuple[list[Proposals], dict[str, Tensor]]:
        """Proposals of each image by falling objectness, and the losses ({} without `targets`)."""


@runtime_checkable
class AnchorGenerator(Protocol):
    """Lays anchors over feature maps. Built with `strides`, by level.

    Attributes:
        per_pixel: anchors of a feature pixel, by level.
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
        """Levels (B, C, H, W) to logits (B, H * W * anchors) and offsets (B, H * W * anchors, box_dim) of each."""


@runtime_checkable
class Pooler(Protocol):
    """Reads features of regions. Built with `strides`, those of the levels it will be given, finest first.

    Attributes:
        resolution: side of the result.
        box_dim: numbers per region: 4, or 5 for rotated ones.
    """

    resolution: int
    box_dim: int

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Features (B, C, H_i, W_i) and boxes (P_b, box_dim) of each image to (sum of P_b, C, R, R)."""


@runtime_checkable
class ROIHeads(Protocol):
    """The second stage: turns proposals into detections. Built with `channels`, `strides` and `num_classes`."""

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
        """The detections of each image; `sizes` are the images' sizes, to clip to."""

    def predict_given_boxes(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections of each image with masks, keypoints and extras filled in; as they are where there are none."""


@runtime_checkable
class BoxHead(Protocol):
    """Condenses the pooled features of each region. Built with `in_channels` and `resolution`, their side.

    Attributes:
        out_dim: how many numbers per region come out.
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
        """(P, in_dim) to what the two methods below read."""

    def losses(self, outputs: Any, proposals: Tensor, labels: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """{loss name: scalar}; proposals (P, 4 or 5), labels int64 (P,), the true box of each, any for background."""

    def detect(self, outputs: Any, proposals: Sequence[Tensor], sizes: Sequence[Size]) -> list[Detections]:
        """The detections of each image, best first; `outputs` are those of all images' proposals, one after another."""


@runtime_checkable
class CascadeBoxPredictor(BoxPredictor, Protocol):
    """A stage of a cascade. Built with `class_agnostic` and `box_weights` too, as far as it takes them."""

    def scores(self, outputs: Any) -> Tensor:
        """Float32 (P, num_classes + 1) in [0, 1], the background last."""

    def decode(self, outputs: Any, proposals: Tensor) -> Tensor:
        """The boxes of regions (P, box_dim): float32 (P, 1, box_dim), one for all classes."""

    def select(self, boxes: Tensor, scores: Tensor, counts: Sequence[int], sizes: Sequence[Size]) -> list[Detections]:
        """The detections among boxes (P, 1, box_dim) and scores (P, num_classes + 1), `counts` regions an image."""


@runtime_checkable
class RefinesRegions(Protocol):
    """A box predictor whose boxes other heads can be trained on."""

    def predict_boxes_for_labels(self, outputs: Any, proposals: Tensor, labels: Tensor) -> Tensor:
        """The box of each region (P, box_dim) as an object of its label int64 (P,); any where it is background."""


@runtime_checkable
class RegionHead(Protocol):
    """Says more about given regions: masks, keypoints ... Built with `channels`, `strides` and `num_classes`."""

    def losses(
        self, features: Mapping[str, Tensor], proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """{loss name: scalar}; the foreground regions of each image, (P_i, 4 or 5), and their truth, row for row."""

    def predict(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections of each image with this head's own field or extra filled in."""


@runtime_checkable
class PooledRegionHead(RegionHead, Protocol):
    """A region head that also takes features that are pooled already, as a second stage with res5 shares them."""

    def pooled_losses(
        self, pooled: Tensor, proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """`losses` from features (sum of P_i, C, R, R) of the foreground regions."""

    def pooled_predict(self, pooled: Tensor, detections: Sequence[Detections]) -> list[Detections]:
        """`predict` from features (sum of N_i, C, R, R) of the detections."""


@runtime_checkable
class MaskLoss(Protocol):
    """Compares the masks that a head makes of regions with the truth."""

    def __call__(self, logits: Tensor, proposals: Sequence[Tensor], targets: Sequence[Targets]) -> Tensor:
        """The loss, a scalar; 0 that reaches every logit where there is no region.

        Logits (P, num_classes or 1, S, S) of the regions of all images, one after another; the boxes of these in each
        image, (P_i, 4), and their truth, row for row.
        """


@runtime_checkable
class DenseHead(Protocol):
    """A one-stage head (RetinaNet, FCOS, TensorMask). Built with `channels`, `strides` and `num_classes`."""

    def forward(self, features: Mapping[str, Tensor]) -> Any:
        """A NamedTuple of tensors, which the two methods below read."""

    def losses(self, outputs: Any, sizes: Sequence[Size], targets: Sequence[Targets]) -> dict[str, Tensor]:
        """{loss name: scalar} over the batch."""

    def decode(self, outputs: Any, sizes: Sequence[Size]) -> list[Detections]:
        """The detections of each image."""


@runtime_checkable
class SemanticHead(Protocol):
    """Classifies every pixel. Built with `channels`, `strides` and `num_classes`."""

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Class scores before the softmax, float32 (B, num_classes, H, W) in the pixels of the padded batch."""

    def losses(self, features: Mapping[str, Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """{loss name: scalar} over the batch; the classes of each image, int64 (H_i, W_i)."""


@runtime_checkable
class Dataset(Protocol):
    """Images with or without their truth.

    Attributes:
        classes: the name of each label, in order.
        evaluators: names of the evaluators that judge predictions on it, as a recipe would spell them.

    A dataset that leaves out anything that its files hold may have the attribute `left_out`, a mapping from what that
    is to how many ({"annotations that cannot be used": 3}): training, evaluation and `det data check` report it. One
    that training draws from in its own way has the method `sampler(seed)`, to a `Sampler` or None.
    """

    classes: Sequence[str]
    evaluators: Sequence[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """The image and its truth as stored, untransformed; raises DataError naming the file if it cannot be read."""


@runtime_checkable
class Indexed(Protocol):
    """A dataset that knows its images without reading them, which some samplers and groupings ask for."""

    def size_of(self, index: int) -> Size:
        """(height, width) of the image as stored."""

    def labels_of(self, index: int) -> Sequence[int]:
        """The label of each object in the image."""


@runtime_checkable
class Sampler(Protocol):
    """Says which images each pass over a training set shows. Built with `dataset` and `seed`."""

    def epoch(self, number: int) -> Any:
        """The indices of pass `number` in order, int64 (K,), at least one; the same whenever and wherever it is asked.

        What a pass holds depends on nothing but `number`, so that training can go on at any image of any pass.
        """


@runtime_checkable
class Evaluator(Protocol):
    """Judges predictions. Built with `classes`, the names of the labels."""

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image: what was predicted, and the sample as stored, both in the pixels of `sample.image`."""

    def state(self) -> Any:
        """What was added so far, picklable, to be merged in another process."""

    def merge(self, states: Sequence[Any]) -> None:
        """Take the states of all processes, this one's included, in place of one's own."""

    def result(self) -> dict[str, float]:
        """{"task/metric": value}, such as "bbox/AP50"; values in [0, 1] where they are shares."""


@runtime_checkable
class Explanation(Protocol):
    """Why metrics are as they are; `det eval` prints it."""

    def as_json(self) -> dict[str, Any]:
        """What stands beside "metrics" and "notes" in the JSON of `det eval`."""

    def show(self) -> None:
        """Print it for a reader at a terminal."""

    def write_report(self, folder: Path, title: str, metrics: Mapping[str, float | None], notes: Sequence[str]) -> Path:
        """Write a report with `metrics` and `notes` into `folder`; returns the file to open."""


@runtime_checkable
class Analysis(Evaluator, Protocol):
    """An evaluator without metrics of its own that explains those of the others, offered under the name "analysis".

    `det eval` gives it each prediction together with the other evaluators. `evaluate_files` works without torch.
    """

    def explain(
        self, evaluators: Sequence[Evaluator], model: nn.Module, batches: Callable[[], Iterable[Any]]
    ) -> Explanation:
        """The explanation of all images, in the first process, after the states of all were merged.

        Args:
            evaluators: the others, after their `result`.
            model: the evaluated one. Nothing is predicted again unless an option of the analysis asks for it.
            batches: the images once more, from the first, for such an option.
        """

    @staticmethod
    def evaluate_files(
        predictions: Path, annotations: Path, as_json: bool, report: Path | None = None, images: Path | None = None
    ) -> None:
        """Print how good results in a file are, without a model: `det eval --predictions FILE --annotations FILE`.

        Args:
            predictions: results in COCO's format.
            annotations: the truth, in COCO's format.
            as_json: print JSON instead of a table.
            report: the folder for a report.
            images: the folder that names of images start from, for the report.
        """


@runtime_checkable
class Exporter(Protocol):
    """Writes a model to a file that runs without det, and reads that file again.

    Attributes:
        suffixes: the ends of the names of its files, such as ".onnx"; of the class itself, for `Detector.load`.
        about: set before `export`, {"classes", "category_ids", "recipe"}: the name of each label, its number in the
            dataset, and the text of a recipe with `model` and `data`, "" without one. A model that `load` returns may
            have these as attributes; then it has the transforms of the data, and `det eval` evaluates it.
        trust: set before `load`; a format whose files run code of their own refuses them where False.
    """

    suffixes: Sequence[str]
    about: Mapping[str, Any]
    trust: bool

    def export(self, model: Model, example: ImageBatch, path: Path) -> Path:
        """Write the file; returns where."""

    def load(self, path: Path) -> Model:
        """What the written file computes, as a model for prediction alone, which has `num_classes`."""


@runtime_checkable
class Transform(Protocol):
    """Any callable from sample to sample; those of torchvision.transforms.v2 are adapted where a recipe names them."""

    def __call__(self, sample: Sample) -> Sample:
        """The sample as changed; the one that is given stays as it is."""
