"""Optimizers: which parameters learn at which rate, and how large a gradient may be."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from det_core.config import Factory
from det_core.engine.schedules import Schedule
from det_core.errors import ConfigError

__all__ = ["ClipGradients", "ParamGroups", "build_optimizer", "gradient_norm", "load_optimizer", "set_learning_rate"]

_NORMS: tuple[type[nn.Module], ...] = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm, nn.RMSNorm)


@dataclass(frozen=True)
class ParamGroups:
    """Give normalisation layers and biases their own weight decay and rate, as the published detectors do.

    Args:
        norm_weight_decay: for the weights and biases of normalisation layers; None: what the optimizer says.
        bias_weight_decay: for all other biases; None: what the optimizer says.
        bias_lr_factor: multiplies the learning rate of those other biases.
    """

    norm_weight_decay: float | None = 0.0
    bias_weight_decay: float | None = None
    bias_lr_factor: float = 1.0

    def __call__(self, model: nn.Module) -> list[dict[str, Any]]:
        """Parameter groups of what `model` trains, each parameter once; empty groups are left out.

        The key `lr_factor` of a group multiplies the optimizer's rate.
        """
        groups: dict[str, dict[str, Any]] = {
            "weights": {"params": []},
            "norms": {"params": [], **_decay(self.norm_weight_decay)},
            "biases": {"params": [], "lr_factor": self.bias_lr_factor, **_decay(self.bias_weight_decay)},
        }
        seen: set[Tensor] = set()
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.requires_grad and parameter not in seen:
                    seen.add(parameter)
                    groups[_group_of(module, name)]["params"].append(parameter)
        return [group for group in groups.values() if group["params"]]


def _decay(value: float | None) -> dict[str, float]:
    return {} if value is None else {"weight_decay": value}


def _group_of(module: nn.Module, name: str) -> str:
    if isinstance(module, _NORMS):
        return "norms"
    return "biases" if name == "bias" else "weights"


@dataclass(frozen=True)
class ClipGradients:
    """Limit the gradients before each step: their common L2 norm, or each value by itself."""

    limit: float
    by: Literal["norm", "value"] = "norm"

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise ConfigError("train.clip_gradients.limit", "must be positive", f"got {self.limit}")

    def __call__(self, parameters: Iterable[Tensor], norm: Tensor) -> None:
        """Clip in place; `norm` is the norm of all the gradients together."""
        if self.by == "norm":
            nn.utils.clip_grads_with_norm_(parameters, self.limit, norm)
        else:
            nn.utils.clip_grad_value_(parameters, self.limit)


def build_optimizer(
    factory: Factory[torch.optim.Optimizer], model: nn.Module, param_groups: ParamGroups
) -> torch.optim.Optimizer:
    """The optimizer of what `model` trains; each group remembers its undiminished rate as `base_lr`."""
    groups = param_groups(model)
    if not groups:
        raise ConfigError("train.optimizer", "has nothing to train", "every parameter of the model is frozen")
    factors = [group.pop("lr_factor", 1.0) for group in groups]
    optimizer = factory(params=groups)
    for group, factor in zip(optimizer.param_groups, factors, strict=True):
        group["base_lr"] = group["lr"] * factor
    return optimizer


def load_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Take momenta and so on from a saved `state_dict`; rates and weight decays stay as the recipe has them now."""
    current = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": saved["state"], "param_groups": current})


def set_learning_rate(optimizer: torch.optim.Optimizer, schedule: Schedule, step: int) -> float:
    """Set each group to its rate at `step`; returns the first group's."""
    factor = schedule(step)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return float(optimizer.param_groups[0]["lr"])


def gradient_norm(model: nn.Module) -> Tensor:
    """The L2 norm of all gradients together, scalar; 0 where there are none."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return nn.utils.get_total_norm(gradients)
