"""`Detector`: from images to detections, the way most people use this library."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from det_core.contracts import Augmentable, Transform
from det_core.data import ResizeShortestEdge, compose, from_pil
from det_core.engine import Checkpoint, pick_device, predict
from det_core.engine.checkpoint import save_checkpoint
from det_core.engine.nan_checks import capture_features, warn_of_non_finite
from det_core.errors import ConfigError, DataError
from det_core.models.cpu_acceleration import accelerate
from det_core.plugins import registry
from det_core.plugins.known import function
from det_core.predict.loading import load_model
from det_core.predict.optimize import optimize
from det_core.predict.result import Result
from det_core.predict.urls import read_image_at
from det_core.recipes import Recipe
from det_core.structures import ImageBatch, Sample

__all__ = ["IMAGES", "Detector", "ImageLike", "Result", "to_sample"]

ImageLike: TypeAlias = str | PathLike[str] | Image.Image | np.ndarray | Tensor
"""A file or an address of one, a Pillow image, a NumPy array (H, W, 3) uint8 RGB, or a tensor (3, H, W) uint8 RGB."""

IMAGES = (str, PathLike, Image.Image, np.ndarray, Tensor)


class Detector:
    """Finds objects in images. `Detector.load` makes one from a file; calling it gives results.

    Args:
        model: a `Model`; it is moved to the device and put into evaluation mode.
        classes: the name of each label.
        transforms: transforms of the images: the `eval_transforms` of the recipe. Resizes only.
        category_ids: the dataset's own number of each label, for `Result.to_coco`; by default the labels themselves.
        device: torch device: "cpu", "cuda", "mps"; None or "auto" for the best there is.

    Attributes:
        threshold: the score threshold of calls without one: that of the best F1 in the validation of the checkpoint
            that it was loaded from, else 0.5.
        batch_size: default number of images per call of the model.
        about: metadata of the checkpoint that it was loaded from; None without one.
        recipe: the recipe it was built from by `load`; else None.
        weights: the file or address of the weights that `load` read; "" where it read none.
        optimization: the figures of the trial of `optimize`; "" where there was none.
    """

    def __init__(
        self,
        model: nn.Module,
        classes: Sequence[str],
        transforms: Sequence[Any] = (),
        category_ids: Sequence[int] = (),
        device: str | torch.device | None = None,
    ) -> None:
        self.device = device if isinstance(device, torch.device) else pick_device(device or "auto")
        self.model = accelerate(model.to(self.device).eval())
        self.batch_size = 1 if self.device.type == "cpu" else 8
        self.threshold = 0.5
        self.classes = tuple(classes)
        if len(self.classes) != getattr(model, "num_classes", len(self.classes)):
            found = f"{len(self.classes)} names, but the model has {model.num_classes} classes"
            raise ConfigError("classes", "must be one name per class of the model", found)
        self.category_ids = tuple(category_ids) or tuple(range(len(self.classes)))
        self.about: Checkpoint | None = None
        self.recipe: Recipe | None = None
        self.weights = self.optimization = ""
        self._transforms = tuple(transforms)
        self._transform: Transform = compose(transforms)
        resizes = (each.size[0] for each in transforms if isinstance(each, ResizeShortestEdge))
        self._shorter_side = next(resizes, 800)

    @classmethod
    def load(
        cls,
        source: str | PathLike[str],
        weights: str | PathLike[str] | None = None,
        device: str | torch.device | None = None,
        classes: Sequence[str] | None = None,
        overrides: Sequence[str] = (),
        trust: bool = False,
    ) -> "Detector":
        """A detector from a checkpoint, which is enough by itself, or from a recipe and weights.

        Args:
            source: a checkpoint (`best.safetensors`), the folder of a training run, a file that an exporter of an
                installed plugin wrote, one of these at an address (https://..., or "hf://OWNER/NAME" on the Hugging
                Face hub), or a recipe: its name, also as published ("COCO-Detection/faster_rcnn_R_50_FPN_3x"), or file.
            weights: weights of the whole model for a recipe, det's own or not: a file or an address that
                `det_core.weights.read` takes; None takes those that are published for a recipe of this name, which are
                downloaded once, and otherwise the initial weights of the recipe, if they are of a whole model.
            device: torch device; None for the best available one.
            classes: the name of each label; None takes the checkpoint's, those of the dataset of a published model, and
                "class 0" and so on if they are unknown.
            overrides: changes to the recipe, such as "model.roi_heads.box_predictor.nms_threshold=0.6".
            trust: build a checkpoint whose recipe names code that is on no list of an installed plugin, which runs it.

        Raises:
            CheckpointError: the checkpoint is missing, damaged, none of det's, or names such modules unasked.
            WeightsError: there are no weights for the whole model, they are of another one, or cannot be downloaded.
            UnknownNameError: there is no such recipe, or it needs a plugin that is not installed.
        """
        loaded = load_model(source, weights, overrides, trust)
        names = loaded.classes if classes is None else classes
        detector = cls(loaded.model, names, loaded.transforms, loaded.category_ids, device)
        detector.about, detector.recipe, detector.weights = loaded.about, loaded.recipe, loaded.weights
        if loaded.about is not None and loaded.about.threshold is not None:
            detector.threshold = loaded.about.threshold
        return detector

    def save(self, path: str | PathLike[str]) -> Path:
        """Write a checkpoint that `load` takes, with the classes and the threshold; returns where.

        Raises:
            ConfigError: the detector was not made by `load` from a checkpoint or a recipe.
        """
        if self.recipe is None:
            fix = "load the detector from a checkpoint or a recipe"
            raise ConfigError("Detector.save", "cannot write a model that no recipe describes", fix=fix)
        about = self.about or Checkpoint(recipe=self.recipe.resolved().to_yaml(), classes=())
        fields: dict[str, Any] = {
            "classes": self.classes,
            "category_ids": self.category_ids,
            "threshold": self.threshold,
        }
        save_checkpoint(Path(path), self.model, replace(about, **fields))
        return Path(path)

    def push_to_hub(self, repo_id: str, private: bool = False, token: str | None = None, card: str = "") -> str:
        """Upload a checkpoint and a model card to the Hugging Face hub, where `load("hf://OWNER/NAME")` finds them.

        Args:
            repo_id: "OWNER/NAME"; made where there is no such repository.
            private: whether a new repository is.
            token: access token of the hub; None: that of `hf auth login`.
            card: the text of README.md; "" for one with classes, metrics and an example.

        Returns:
            The address of the repository.

        Raises:
            MissingExtraError: det-inspect or huggingface_hub is not installed.
            WeightsError: the hub refuses, or cannot be reached.
        """
        address: str = function("Detector.push_to_hub")(self, repo_id, private, token, card)
        return address

    def export(
        self, form: str, path: str | PathLike[str], shape: tuple[int, int] = (800, 1216), **options: Any
    ) -> Path:
        """Write the model to a file that runs without det; returns where.

        Args:
            form: the name of an exporter that a plugin offers, such as "onnx".
            path: path of the file to write.
            shape: height and width in pixels of the example that the exporter traces.
            options: keyword arguments of the exporter, such as `precision`.

        Raises:
            UnknownNameError: no installed plugin offers this exporter.
            ConfigError: the model cannot be exported, or the detector has transforms without a recipe.
        """
        exporter = registry.find("exporters", form, "Detector.export").load()(**options)
        exporter.about = self.about_for_export()
        pixels = torch.zeros(1, 3, *shape, dtype=torch.uint8, device=self.device)
        written: Path = exporter.export(self.model, ImageBatch(pixels=pixels, sizes=(shape,)), Path(path))
        return written

    def about_for_export(self) -> dict[str, Any]:
        """The attribute `about` of an exporter, which is written beside the model."""
        if self.recipe is None and self._transforms:
            fix = "load the detector from a checkpoint or a recipe"
            raise ConfigError("Detector.export", "cannot write transforms that no recipe spells", fix=fix)
        recipe_tree = {} if self.recipe is None else self.recipe.tree
        tree = {key: recipe_tree[key] for key in ("summary", "model", "data", "versions") if key in recipe_tree}
        text = Recipe(tree).to_yaml() if tree else ""
        return {"classes": self.classes, "category_ids": self.category_ids, "recipe": text, "weights": self.weights}

    def augmented(
        self,
        sizes: Sequence[int] | None = None,
        max_size: int | None = None,
        flip: bool = True,
        flip_pairs: Sequence[tuple[int, int]] | None = None,
    ) -> "Detector":
        """Test-time augmentation: several sizes of each image, and mirrored, merged; slower by as many times.

        Args:
            sizes: lengths of the shorter side, in pixels; None: nine, from half to one and a half times the side of its
                `ResizeShortestEdge`, which are the published 400 to 1200 for a detector of 800.
            max_size: maximum length of the longer side, in pixels; None: five times the side, the published 4000.
            flip: also predict the mirror image of each view.
            flip_pairs: keypoints that change places in a mirror; None: those of COCO's persons, if there are 17.

        Raises:
            MissingExtraError: det-inspect is not installed, and the model has no augmentation of its own.
        """
        side = self._shorter_side
        sizes = [max(side * eighths // 8, 1) for eighths in range(4, 13)] if sizes is None else sizes
        longest = max_size or 5 * side
        augmentable = [part for part in self.model.modules() if isinstance(part, Augmentable)]
        if augmentable:
            model: nn.Module = augmentable[0].augmented(self.model, sizes, longest, flip)
        else:
            model = function("Detector.augmented")(self.model, sizes, longest, flip, flip_pairs)
        detector = Detector(model, self.classes, (), self.category_ids, self.device)
        detector.threshold = self.threshold
        return detector

    # A text is a path here, although Python counts it among the iterables.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, images: ImageLike, threshold: float | None = None, batch_size: int | None = None
    ) -> Result: ...

    @overload
    def __call__(
        self, images: Iterable[ImageLike], threshold: float | None = None, batch_size: int | None = None
    ) -> list[Result]: ...

    def __call__(
        self, images: ImageLike | Iterable[ImageLike], threshold: float | None = None, batch_size: int | None = None
    ) -> Result | list[Result]:
        """The result of one image, or the list of results of several.

        Args:
            images: a file, a Pillow image, a NumPy array (H, W, 3) or a tensor (3, H, W), both uint8 RGB; or several of
                any kinds and sizes.
            threshold: detections must score at least this; by default the `threshold` of the detector.
            batch_size: how many images go through the model at once; by default 8, and 1 on a CPU, where one
                image keeps all cores busy, and several are slower.

        Raises:
            DataError: a file cannot be read, or an input is no image of the kinds above.
        """
        if isinstance(images, IMAGES):
            return next(self.stream([images], threshold, batch_size=1))
        if not isinstance(images, Iterable):
            raise _not_an_image("images", images, f"it is {type(images).__name__}")
        return list(self.stream(images, threshold, batch_size))

    def stream(
        self, images: Iterable[ImageLike], threshold: float | None = None, batch_size: int | None = None
    ) -> Iterator[Result]:
        """The same one result after the other, with no more than a batch of images in memory."""
        batch_size = self.batch_size if batch_size is None else batch_size
        threshold = self.threshold if threshold is None else threshold
        if batch_size < 1:
            raise ConfigError("batch_size", "must be at least 1", f"got {batch_size}")
        waiting: list[Sample] = []
        for index, image in enumerate(images):
            waiting.append(to_sample(image, f"images[{index}]"))
            if len(waiting) == batch_size:
                yield from self._detect(waiting, threshold)
                waiting = []
        if waiting:
            yield from self._detect(waiting, threshold)

    def optimize(
        self,
        images: Iterable[ImageLike] = (),
        *,
        fold: bool = True,
        channels_last: bool = True,
        precision: Literal["fp32", "bf16"] | None = None,
        compiled: bool = False,
        threshold: float = 0.0,
    ) -> "Detector":
        """A faster copy of the detector with equal predictions; train and save the original, which is not changed.

        Args:
            images: a few of those to come, of any kind that calls take. If there are some and no `precision`, bf16 is
                tried on them where the device computes in it, and taken where it is faster and at least 99 % of the
                detections are the same. The attribute `optimization` has the figures. Needs det-inspect.
            fold: multiply batch norms into the convolutions before them.
            channels_last: keep the channels of each pixel side by side in memory, which convolutions like.
            precision: "bf16" computes in bfloat16, where scores move in the third digit; "fp32" as trained.
            compiled: let `torch.compile` translate the networks, during the first image of each size; on a CPU that
                needs a C++ compiler.
            threshold: minimum score of a detection, in [0, 1]: masks and keypoints of the others are not computed.

        Raises:
            MissingExtraError: there are images, and det-inspect is not installed.
        """
        options = {"fold": fold, "channels_last": channels_last, "compiled": compiled, "threshold": threshold}
        if precision is None and (trial := list(images)):
            faster: Detector = function("Detector.optimize")(self, trial, options)
            return faster
        faster = copy.copy(self)
        faster.model = optimize(self.model, precision=precision or "fp32", **options)
        return faster

    def _detect(self, samples: Sequence[Sample], threshold: float) -> Iterator[Result]:
        images = ImageBatch.stack([self._transform(sample).image for sample in samples]).to(self.device)
        with torch.no_grad(), capture_features(self.model) as features:
            predictions = predict(self.model, images, [sample.size for sample in samples])
        warn_of_non_finite(self.model, features, samples, predictions)
        for sample, prediction in zip(samples, predictions, strict=True):
            result = Result(sample.image, prediction, self.classes, self.category_ids, sample.path).filtered(threshold)
            if result.prediction.detections is not None:
                detections = result.detections.to("cpu")
                result = replace(result, prediction=replace(result.prediction, detections=detections))
            yield result


def to_sample(image: ImageLike, where: str) -> Sample:
    """An image of any kind that a detector takes, as uint8 RGB (3, H, W); DataError at `where` of anything else."""
    if isinstance(image, str | PathLike):
        return Sample(image=read_image_at(image), path=None if "://" in str(image) else Path(image))
    if isinstance(image, Image.Image):
        _require_pixels(where, image.size)
        return Sample(image=from_pil(image, where))
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise _not_an_image(where, image, f"the array is {image.shape} {image.dtype}")
        _require_pixels(where, image.shape)
        return Sample(image=torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1))
    if isinstance(image, Tensor):
        if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
            raise _not_an_image(where, image, f"the tensor is {tuple(image.shape)} {image.dtype}")
        _require_pixels(where, image.shape)
        return Sample(image=image.cpu())
    raise _not_an_image(where, image, f"it is {type(image).__name__}")


def _require_pixels(where: str, shape: Sequence[int]) -> None:
    if 0 in shape:
        raise DataError(where, "has no pixels", f"its shape is {tuple(shape)}", "check how it was cut")


def _not_an_image(where: str, image: Any, detail: str) -> DataError:
    shape = tuple(getattr(image, "shape", ()))
    if len(shape) == 4:
        fix = "give a list of images, not one array of several"
    elif isinstance(image, Tensor) and len(shape) == 3 and shape[2] == 3:
        fix = "move the colors first: image.permute(2, 0, 1)"
    elif isinstance(image, np.ndarray) and len(shape) == 3 and shape[0] == 3:
        fix = "move the colors last: image.transpose(1, 2, 0)"
    elif str(getattr(image, "dtype", "")).removeprefix("torch.").startswith("float"):
        fix = "give values from 0 to 255 as uint8"
    else:
        fix = "give a path, a Pillow image, a NumPy array (H, W, 3) uint8 RGB or a tensor (3, H, W) uint8 RGB"
    return DataError(where, "is not an image that a detector takes", detail, fix)
