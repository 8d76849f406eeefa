"""Known obstacles to exporting a model, checked before minutes are spent on its graph."""

from dataclasses import dataclass

from det_core.errors import ConfigError
from det_core.ops.geometry import ROTATED
from det_core.ops.roi import ROIPooler
from torch import nn

__all__ = ["Obstacle", "obstacle", "require_exportable"]


@dataclass(frozen=True)
class Obstacle:
    """An obstacle to exporting a model.

    Attributes:
        operator: the part or operation of the model that cannot be exported.
        reason: why it cannot be exported.
        fix: advice to the user: what to export instead.
    """

    operator: str
    reason: str
    fix: str


_ROTATED = Obstacle(
    "ROIAlignRotated",
    "takes as many samples in each region as its size requires, and its suppression goes from box to box: no graph can",
    "run this model in Python; upright boxes can be exported",
)
_SUPPRESSION = Obstacle("rotated suppression", "goes from box to box: no graph can", _ROTATED.fix)


def obstacle(model: nn.Module) -> Obstacle | None:
    """The known obstacle to exporting a model to any format; None if there is none."""
    for module in model.modules():
        if getattr(module, "form", None) is ROTATED:
            return _ROTATED if any(isinstance(each, ROIPooler) for each in model.modules()) else _SUPPRESSION
    return None


def require_exportable(model: nn.Module, form: str) -> None:
    """Raise ConfigError, with the operator and the reason, where a model is known not to be exportable."""
    failure = obstacle(model)
    if failure is not None:
        raise ConfigError("export", f"{failure.operator} {failure.reason}", f"the format is {form}", failure.fix)
