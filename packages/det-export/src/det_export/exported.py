"""An exported file as a model that predicts."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from det_core.contracts import SegmentMaker
from det_core.errors import CheckpointError, ConfigError, StructureError
from det_core.structures import ImageBatch, Prediction, Size
from torch import Tensor, nn
from torch.nn import functional as F

from det_export.metadata import PROPOSALS, Metadata
from det_export.postprocess_steps import finishers
from det_export.program import unflatten
from det_export.proposals import inputs_of

__all__ = ["ExportedModel", "model_of"]


class ExportedModel(nn.Module):
    """A `det_core.contracts.Model` for prediction that runs an exported file.

    Args:
        run: function from pixels uint8 (B, 3, H, W) and sizes int64 (B, 2), and proposals (N, 4) if `metadata.inputs`
            has them, to the outputs; B is `metadata.batch_size`, or with `metadata.any_batch` at most that.
        metadata: metadata read from the file.
        where: name of the file in error messages.

    Attributes:
        num_classes, classes, category_ids, recipe: values of the metadata.
        steps: postprocessing steps that are not part of the graph, see `det_export.postprocess_steps`.
    """

    def __init__(self, run: Callable[..., Sequence[Tensor]], metadata: Metadata, where: str) -> None:
        super().__init__()
        self.run, self.metadata, self.where = run, metadata, where
        self.num_classes, self.classes = metadata.num_classes, tuple(metadata.classes)
        self.category_ids, self.recipe = tuple(metadata.category_ids), metadata.recipe
        self.steps = finishers(metadata.finish, where)

    def forward(self, batch: ImageBatch, targets: Any = None) -> list[Prediction]:
        """One Prediction per image, in the pixels of `batch`; there are no losses.

        Raises:
            ConfigError: `targets` are given, or an image is larger than the file accepts.
            StructureError: the file needs proposals, and the batch has none.
            CheckpointError: the file fails, or its outputs are not those of its metadata.
        """
        if targets is not None:
            raise ConfigError(self.where, "predicts alone: an exported file has no losses", fix="use the checkpoint")
        if PROPOSALS in self.metadata.inputs and batch.proposals is None:
            fix = "use a dataset with proposals"
            raise StructureError("ImageBatch.proposals", "are needed: the model has no proposal generator", fix=fix)
        predictions: list[Prediction] = []
        regions = batch.proposals if PROPOSALS in self.metadata.inputs else None
        for start in range(0, len(batch), self.metadata.batch_size):
            chunk = range(start, min(start + self.metadata.batch_size, len(batch)))
            proposals = inputs_of(regions[start]) if regions else ()
            predictions += self._chunk([batch.pixels[i] for i in chunk], [batch.sizes[i] for i in chunk], proposals)
        return predictions

    def entering(self, images: Sequence[Tensor], sizes: Sequence[Size]) -> tuple[Tensor, Tensor]:
        """The inputs of the file: pixels uint8 (B, 3, H, W), padded with zeros to its sizes, and sizes int64 (B, 2).

        Images are (3, H_i, W_i), at least as large as their sizes (height, width); B of them.
        """
        height, width = self._side(max(h for h, _ in sizes), 0), self._side(max(w for _, w in sizes), 1)
        pixels = [
            F.pad(image[:, :h, :w], (0, width - w, 0, height - h)).to("cpu", torch.uint8)
            for image, (h, w) in zip(images, sizes, strict=True)
        ]
        return torch.stack(pixels), torch.tensor(list(sizes), dtype=torch.int64)

    def _chunk(self, images: list[Tensor], sizes: list[Size], proposals: Sequence[Tensor]) -> list[Prediction]:
        count, device = len(images), images[0].device
        missing = 0 if self.metadata.any_batch else self.metadata.batch_size - count
        images, sizes = images + images[:1] * missing, sizes + sizes[:1] * missing
        pixels, sizes_tensor = self.entering(images, sizes)
        try:
            with torch.no_grad():
                outputs = self.run(pixels, sizes_tensor, *proposals)
        except Exception as error:  # a runtime's errors have no common type
            raise CheckpointError(self.where, "fails", f"{type(error).__name__}: {str(error)[:300]}") from error
        if len(outputs) != len(self.metadata.outputs):
            found = f"{len(outputs)} outputs, not {len(self.metadata.outputs)}"
            raise CheckpointError(self.where, "computes other outputs than its metadata name", found)
        named = {name: value.to(device) for name, value in zip(self.metadata.outputs, outputs, strict=True)}
        return [self._finished(each) for each in unflatten(named, sizes)[:count]]

    def _finished(self, prediction: Prediction) -> Prediction:
        for step in self.steps:
            prediction = step(prediction)
        return prediction

    def _side(self, side: int, axis: int) -> int:
        metadata = self.metadata
        if metadata.fixed is not None:
            if side > metadata.fixed[axis]:
                fix = "resize images, or export with dynamic sizes"
                raise ConfigError(self.where, f"takes images up to {metadata.fixed}", f"got a side of {side}", fix)
            return metadata.fixed[axis]
        if side > metadata.largest:
            raise ConfigError(self.where, f"takes images with sides up to {metadata.largest}", f"got {side}")
        return max(-(-side // metadata.divisibility) * metadata.divisibility, metadata.smallest)


class _SegmentingModel(ExportedModel):
    """An exported file whose last steps derive segments, at any size, from its other predictions."""

    def with_segments(self, prediction: Prediction) -> Prediction:
        """As `det_core.contracts.SegmentMaker`."""
        for step in self.steps:
            if isinstance(step, SegmentMaker):
                prediction = step.with_segments(prediction)
        return prediction


def model_of(run: Callable[..., Sequence[Tensor]], metadata: Metadata, where: str) -> ExportedModel:
    """The model of a file; arguments as of `ExportedModel`."""
    model = ExportedModel(run, metadata, where)
    if any(isinstance(step, SegmentMaker) for step in model.steps):
        return _SegmentingModel(run, metadata, where)
    return model
