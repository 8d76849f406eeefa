"""A file that was exported, as a model: images in, predictions out."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from det_core.contracts import SegmentMaker
from det_core.errors import CheckpointError, ConfigError
from det_core.structures import ImageBatch, Prediction, Size
from torch import Tensor, nn
from torch.nn import functional as F

from det_export.facts import Facts
from det_export.finish import finishers
from det_export.program import unflatten

__all__ = ["ExportedModel", "model_of"]


class ExportedModel(nn.Module):
    """What a file computes, as a `det_core.contracts.Model` for prediction.

    Args:
        run: pixels uint8 (B, 3, H, W) and sizes int64 (B, 2) to the outputs; B is `facts.batch_size`, or at most that.
        facts: what the file says of itself.
        where: what messages call it.

    Attributes:
        num_classes, classes, category_ids, recipe: as the file says.
        steps: what follows the program, see `det_export.finish`.
    """

    def __init__(self, run: Callable[[Tensor, Tensor], Sequence[Tensor]], facts: Facts, where: str) -> None:
        super().__init__()
        self.run, self.facts, self.where = run, facts, where
        self.num_classes, self.classes = facts.num_classes, tuple(facts.classes)
        self.category_ids, self.recipe = tuple(facts.category_ids), facts.recipe
        self.steps = finishers(facts.finish, where)

    def forward(self, batch: ImageBatch, targets: Any = None) -> list[Prediction]:
        """One Prediction per image, in the pixels of `batch`; there are no losses.

        Raises:
            ConfigError: there are `targets`, or an image is larger than the file takes.
            CheckpointError: the file fails, or computes something else than it says.
        """
        if targets is not None:
            raise ConfigError(self.where, "predicts alone: an exported file has no losses", fix="use the checkpoint")
        predictions: list[Prediction] = []
        for start in range(0, len(batch), self.facts.batch_size):
            chunk = range(start, min(start + self.facts.batch_size, len(batch)))
            predictions += self._chunk([batch.pixels[i] for i in chunk], [batch.sizes[i] for i in chunk])
        return predictions

    def entering(self, images: Sequence[Tensor], sizes: Sequence[Size]) -> tuple[Tensor, Tensor]:
        """What enters the file: pixels uint8 (B, 3, H, W), padded with zeros as it wants, and sizes int64 (B, 2).

        Images are (3, H_i, W_i), at least as large as their sizes (height, width); B of them.
        """
        height, width = self._side(max(h for h, _ in sizes), 0), self._side(max(w for _, w in sizes), 1)
        pixels = [
            F.pad(image[:, :h, :w], (0, width - w, 0, height - h)).to("cpu", torch.uint8)
            for image, (h, w) in zip(images, sizes, strict=True)
        ]
        return torch.stack(pixels), torch.tensor(list(sizes), dtype=torch.int64)

    def _chunk(self, images: list[Tensor], sizes: list[Size]) -> list[Prediction]:
        count, device = len(images), images[0].device
        missing = 0 if self.facts.any_batch else self.facts.batch_size - count
        images, sizes = images + images[:1] * missing, sizes + sizes[:1] * missing
        pixels, given = self.entering(images, sizes)
        try:
            with torch.no_grad():
                outputs = self.run(pixels, given)
        except Exception as error:  # a runtime's errors have no common type
            raise CheckpointError(self.where, "fails", f"{type(error).__name__}: {str(error)[:300]}") from error
        if len(outputs) != len(self.facts.outputs):
            found = f"{len(outputs)} outputs, not {len(self.facts.outputs)}"
            raise CheckpointError(self.where, "computes something else than it says", found)
        named = {name: value.to(device) for name, value in zip(self.facts.outputs, outputs, strict=True)}
        return [self._finished(each) for each in unflatten(named, sizes)[:count]]

    def _finished(self, prediction: Prediction) -> Prediction:
        for step in self.steps:
            prediction = step(prediction)
        return prediction

    def _side(self, side: int, axis: int) -> int:
        facts = self.facts
        if facts.fixed is not None:
            if side > facts.fixed[axis]:
                fix = "resize images, or export with dynamic sizes"
                raise ConfigError(self.where, f"takes images up to {facts.fixed}", f"got a side of {side}", fix)
            return facts.fixed[axis]
        if side > facts.largest:
            raise ConfigError(self.where, f"takes images with sides up to {facts.largest}", f"got {side}")
        return max(-(-side // facts.divisibility) * facts.divisibility, facts.smallest)


class _SegmentingModel(ExportedModel):
    """An exported file whose last steps make segments of what else it predicts, and so at any size."""

    def with_segments(self, prediction: Prediction) -> Prediction:
        """As `det_core.contracts.SegmentMaker`."""
        for step in self.steps:
            if isinstance(step, SegmentMaker):
                prediction = step.with_segments(prediction)
        return prediction


def model_of(run: Callable[[Tensor, Tensor], Sequence[Tensor]], facts: Facts, where: str) -> ExportedModel:
    """The model of a file; arguments as of `ExportedModel`."""
    model = ExportedModel(run, facts, where)
    if any(isinstance(step, SegmentMaker) for step in model.steps):
        return _SegmentingModel(run, facts, where)
    return model
