"""Complete models: their role, and checks for models only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from det_core.contracts import Model
from det_core.structures import ImageBatch, Prediction, Targets
from torch import Tensor, nn

from det_devkit.conformance.modules import picture, require_same
from det_devkit.conformance.outputs import require_each, require_losses, require_prediction
from det_devkit.conformance.report import Check, Failed, check
from det_devkit.conformance.roles import not_exportable, require_members, require_module
from det_devkit.conformance.subject import Subject
from det_devkit.conformance.synthetic import Scene, of_classes
from det_devkit.conformance.tensors import flat

__all__ = ["CHECKS", "ModelRole"]


@dataclass(frozen=True)
class ModelInputs:
    """Images and their targets."""

    batch: ImageBatch
    targets: list[Targets]


class ModelRole:
    """Images in, predictions or losses out."""

    def parents(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def require(self, module: Any, scene: Scene) -> None:
        """A number of classes, losses, and a prediction of each image."""
        require_module(module)
        require_members(module, Model, ("num_classes",))
        inputs = self.inputs(module, scene)
        require_losses(module.train()(inputs.batch, inputs.targets), "forward with targets")
        with torch.no_grad():
            predictions = module.eval()(inputs.batch)
        require_each(predictions, Prediction, len(scene), "forward without targets")
        for one, size in zip(predictions, inputs.batch.sizes, strict=True):
            require_prediction(one, size, module.num_classes)

    def inputs(self, module: Any, scene: Scene) -> ModelInputs:
        """Images as they come from a loader."""
        return ModelInputs(scene.batch, [of_classes(targets, module.num_classes) for targets in scene.targets])

    def predict(self, module: Any, inputs: ModelInputs) -> list[dict[str, Tensor]]:
        """All tensors of a prediction."""
        return [flat(prediction) for prediction in module(inputs.batch)]

    def losses(self, module: Any, inputs: ModelInputs) -> dict[str, Tensor]:
        """The losses of the model."""
        losses: dict[str, Tensor] = module(inputs.batch, inputs.targets)
        return losses

    def exportable(self, module: Any, inputs: ModelInputs) -> tuple[nn.Module, tuple[Any, ...]]:
        """Nothing."""
        return not_exportable(
            "the number of detections depends on the image; backbone and heads are checked separately"
        )


@check("the argument decides between losses and predictions")
def argument_decides(subject: Subject) -> None:
    """With targets it returns losses, without them predictions, in training mode and in eval mode."""
    role, module = ModelRole(), subject.make()
    inputs = role.inputs(module, picture(subject))
    fix = "test `targets is None`, not `self.training`"
    for mode in (True, False):
        module.train(mode)
        where = f"in {'training' if mode else 'eval'} mode"
        with torch.no_grad():
            if not isinstance(module(inputs.batch, inputs.targets), Mapping):
                raise Failed(f"{where} it returns no losses for targets", fix)
            try:
                said = module(inputs.batch)
            except Exception as error:
                raise Failed(f"{where} without targets it raises {type(error).__name__}: {error}", fix) from error
            if not isinstance(said, list):
                raise Failed(f"{where} without targets it returns no predictions", fix)


@check("the content of the padding does not matter")
def padding(subject: Subject) -> None:
    """In a batch of two sizes, other values beyond the smaller image change nothing."""
    role, module = ModelRole(), subject.make().eval()
    large, small = picture(subject, images=1), picture(subject, images=1, size=(48, 56))
    batch = ImageBatch.stack([large.samples[0].image, small.samples[0].image])
    noisy = batch.pixels.clone()
    noisy[1, :, 48:], noisy[1, :, :, 56:] = 255, 17
    predictions = []
    for pixels in (batch.pixels, noisy):
        torch.manual_seed(0)
        with torch.no_grad():
            predictions.append(role.predict(module, ModelInputs(ImageBatch(pixels=pixels, sizes=batch.sizes), [])))
    fix = "normalize first, then fill with zeros beyond each image's own size"
    require_same(predictions[0], predictions[1], "with other values in the padding it is another", fix, 1e-5)


CHECKS: tuple[Check, ...] = (argument_decides, padding)
