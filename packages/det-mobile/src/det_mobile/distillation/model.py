"""Knowledge distillation: a student detector that is trained with a teacher, and used without it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from det_core.contracts import Exported, Model
from det_core.errors import ConfigError
from det_core.structures import ImageBatch, Prediction, Targets
from torch import Tensor, nn

from det_mobile.distillation.losses import Imitation, Logits, PseudoBoxes
from det_mobile.distillation.teacher import Teacher, recorded_features

if TYPE_CHECKING:
    from det_core.engine.callbacks.base import Training

__all__ = ["AdapterState", "Distilled"]

_ADAPTERS = "adapters"


class Distilled(nn.Module):
    """The student, under its own names, with losses that compare it with a teacher (Hinton et al., 2015).

    Predictions, checkpoints and exported files are those of the student alone; the teacher is loaded when there are
    losses to compute, and only then.

    Args:
        student: detector to train; the result.
        teacher: detector with the same classes.
        features: loss on feature maps; None for no such loss.
        logits: loss on class probabilities; None for no such loss.
        pseudo_boxes: selection of detections of the teacher that serve as ground truth; None for none.
    """

    def __init__(
        self,
        student: Model,
        teacher: Teacher,
        *,
        features: Imitation | None = None,
        logits: Logits | None = None,
        pseudo_boxes: PseudoBoxes | None = None,
    ) -> None:
        super().__init__()
        if features is None and logits is None and pseudo_boxes is None:
            raise ConfigError("Distilled", "teaches nothing", fix="give features, logits or pseudo_boxes")
        module = cast(nn.Module, student)
        # The student's parts are this model's own, under their own names; what it holds itself is shared.
        self._parameters, self._buffers = module._parameters, module._buffers
        self._non_persistent_buffers_set = module._non_persistent_buffers_set
        for name, child in module.named_children():
            self.add_module(name, child)
        self._others: dict[str, Any] = {"student": module}
        self.num_classes = int(getattr(student, "num_classes", 0))
        self.teacher, self.features, self.logits, self.pseudo_boxes = teacher, features, logits, pseudo_boxes
        self.adapters: nn.ModuleDict | None = None
        if features is not None:
            self.adapters = features.adapters(getattr(getattr(student, "backbone", None), "channels", {}))

    @property
    def student(self) -> nn.Module:
        """The student detector."""
        return cast(nn.Module, self._others["student"])

    @property
    def nms(self) -> Any:
        """The NMS settings of the student; AttributeError if it has none."""
        return self.student.nms

    def networks(self) -> Sequence[Any]:
        """As `det_core.contracts.Compilable`: those of the student."""
        return list(getattr(self.student, "networks", list)())

    def exported(self) -> Exported:
        """As `det_core.contracts.Exportable`: the student."""
        return Exported(model=self.student)

    def train(self, mode: bool = True) -> "Distilled":
        """As `nn.Module.train`; the teacher stays in evaluation mode."""
        super().train(mode)
        self.student.training = mode
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The student's."""
        return self.student.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Those of the student; adapters stay as they are."""
        return self.student.load_state_dict(state_dict, strict, assign)

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`: the student's losses, "loss_imitation" and "loss_logits". Without: its predictions."""
        if targets is None:
            predictions: list[Prediction] = self.student(batch)
            return predictions
        teacher: Any = self.teacher.model(self.num_classes, batch.pixels.device)
        with torch.no_grad(), recorded_features(teacher, "teacher") as theirs:
            if self.pseudo_boxes is not None:
                targets = self.pseudo_boxes.targets(targets, teacher(batch))
            else:
                teacher.backbone(teacher.preprocess(batch))
        with recorded_features(self.student, "student") as mine:
            losses: dict[str, Tensor] = self.student(batch, targets)
        if self.features is not None and self.adapters is not None:
            losses["loss_imitation"] = self.features.loss(self.adapters, mine, theirs)
        if self.logits is not None:
            losses["loss_logits"] = self.logits.loss(self.student, teacher, (mine, theirs), batch)
        return losses


class AdapterState:
    """A training callback that keeps the adapters of a `Distilled` model, so that a resumed run goes on exactly."""

    def __init__(self) -> None:
        self._waiting: Mapping[str, Tensor] | None = None
        self._adapters: nn.Module | None = None

    def on_start(self, trainer: "Training") -> None:
        """Find the adapters, and give them the weights of a resumed run.

        Raises:
            ConfigError: the model has none.
        """
        self._adapters = getattr(trainer.model, _ADAPTERS, None)
        if not isinstance(self._adapters, nn.Module):
            fix = "leave the callback out, or teach features"
            raise ConfigError("AdapterState", "the model has no adapters", type(trainer.model).__name__, fix)
        if self._waiting is not None:
            self._adapters.load_state_dict(self._waiting)

    def state_dict(self) -> dict[str, Any]:
        """The weights of the adapters."""
        return {} if self._adapters is None else {"adapters": self._adapters.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Keep them for `on_start`."""
        self._waiting = state.get("adapters")
