"""Optimizers: which parameters learn at which rate, and how large a gradient may be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from det_core.engine.schedules import Schedule
from det_core.errors import ConfigError
from det_core.ops.layers import LayerNorm2d
from det_core.recipes import Factory

__all__ = [
    "ClipGradients",
    "LayerDecay",
    "ParamGroups",
    "build_optimizer",
    "gradient_norm",
    "load_optimizer",
    "matching_names",
    "set_learning_rate",
]

_NORMS: tuple[type[nn.Module], ...] = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm, nn.RMSNorm)


@dataclass(frozen=True)
class LayerDecay:
    """Let the early layers of a pretrained transformer learn slower than the late ones (Clark et al., "ELECTRA", 2020).

    Each layer's rate is `rate` times that of the next one. Blocks are numbered by their names ("blocks.0."); what makes
    the tokens ("patch_embed", "pos_embed") is a layer below the first. All else has the full rate: what lies outside
    `within`, and the convolutions that a block got for detection alone ("residual").

    Args:
        rate: factor on the learning rate from one layer to the one below, in (0, 1].
        layers: number of blocks of the network.
        within: the part of the model that these are in.
    """

    rate: float
    layers: int
    within: str = "backbone"

    def __post_init__(self) -> None:
        if not self.rate > 0 or self.layers < 1:
            found = f"got rate {self.rate} and {self.layers} layers"
            raise ConfigError("train.param_groups.layer_decay", "needs a positive rate and at least one layer", found)

    def __call__(self, name: str) -> float:
        """The factor on the learning rate of the parameter of this name."""
        parts = name.split(".")
        above = 0
        if name.startswith(f"{self.within}."):
            if "pos_embed" in parts or "patch_embed" in parts:
                above = self.layers + 1
            elif "blocks" in parts[:-1] and "residual" not in parts:
                above = self.layers - int(parts[parts.index("blocks") + 1])
        return float(self.rate**above)


@dataclass(frozen=True)
class ParamGroups:
    """Give normalisation layers, biases and others their own weight decay and rate, as the published detectors do.

    Args:
        norm_weight_decay: weight decay of weights and biases of normalization layers; None: the optimizer's. Layer
            norms over the channels of a pixel (`norm: LN`) are not meant: published trainings decay them as weights.
        bias_weight_decay: weight decay of all other biases; None: that of the optimizer.
        bias_lr_factor: multiplies the learning rate of those other biases.
        weight_decay_of: last part of a parameter's name, such as "pos_embed" -> weight decay, before all others.
        layer_decay: layer-wise decay of the learning rate; None for none.
        lr_factor_of: last part of a parameter's name -> factor on its learning rate, beside all others.
    """

    norm_weight_decay: float | None = 0.0
    bias_weight_decay: float | None = None
    bias_lr_factor: float = 1.0
    weight_decay_of: Mapping[str, float] | None = None
    layer_decay: LayerDecay | None = None
    lr_factor_of: Mapping[str, float] | None = None

    def __call__(self, model: nn.Module) -> list[dict[str, Any]]:
        """Groups of the trained parameters, each parameter once: weights, norms, then biases.

        The key `lr_factor` of a group multiplies the optimizer's rate.
        """
        groups: dict[tuple[int, float, float | None], list[Tensor]] = {}
        grouped: set[Tensor] = set()
        for path, module in model.named_modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.requires_grad and parameter not in grouped:
                    grouped.add(parameter)
                    key = self._group_of(module, f"{path}.{name}".lstrip("."))
                    groups.setdefault(key, []).append(parameter)
        ordered = sorted(groups.items(), key=lambda item: item[0][0])
        return [
            {"params": params, **({} if factor == 1 else {"lr_factor": factor}), **_decay(decay)}
            for (_, factor, decay), params in ordered
        ]

    def _group_of(self, module: nn.Module, name: str) -> tuple[int, float, float | None]:
        """Of a parameter: its place in the order of groups, the factor on its rate, its weight decay."""
        last = name.rpartition(".")[2]
        kind, factor, decay = 0, 1.0, None
        if isinstance(module, _NORMS) and not isinstance(module, LayerNorm2d):
            kind, decay = 1, self.norm_weight_decay
        elif last == "bias":
            kind, factor, decay = 2, self.bias_lr_factor, self.bias_weight_decay
        if self.layer_decay is not None:
            factor *= self.layer_decay(name)
        factor *= (self.lr_factor_of or {}).get(last, 1.0)
        return kind, factor, (self.weight_decay_of or {}).get(last, decay)


def _decay(value: float | None) -> dict[str, float]:
    return {} if value is None else {"weight_decay": value}


@dataclass(frozen=True)
class ClipGradients:
    """Limit the gradients before each step: their common L2 norm, that of each parameter, or each value by itself."""

    limit: float
    by: Literal["norm", "norm_of_each", "value"] = "norm"

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise ConfigError("train.clip_gradients.limit", "must be positive", f"got {self.limit}")

    def __call__(self, parameters: Iterable[Tensor], norm: Tensor) -> None:
        """Clip in place; `norm` is the norm of all the gradients together."""
        if self.by == "norm":
            nn.utils.clip_grads_with_norm_(parameters, self.limit, norm)
        elif self.by == "norm_of_each":
            for parameter in parameters:
                nn.utils.clip_grad_norm_(parameter, self.limit)
        else:
            nn.utils.clip_grad_value_(parameters, self.limit)


def build_optimizer(
    factory: Factory[torch.optim.Optimizer], model: nn.Module, param_groups: ParamGroups
) -> torch.optim.Optimizer:
    """The optimizer of the trained parameters; each group has its rate before the schedule as `base_lr`."""
    groups = param_groups(model)
    if not groups:
        raise ConfigError("train.optimizer", "has nothing to train", "every parameter of the model is frozen")
    factors = [group.pop("lr_factor", 1.0) for group in groups]
    optimizer = factory(params=groups, **_in_one_pass(factory, groups))
    for group, factor in zip(optimizer.param_groups, factors, strict=True):
        group["base_lr"] = group["lr"] * factor
    return optimizer


def _in_one_pass(factory: Factory[torch.optim.Optimizer], groups: list[dict[str, Any]]) -> dict[str, bool]:
    """`fused` for PyTorch's own optimizers on a CPU, where it is not their default and takes a quarter of the time.

    It reads memory in the order in which it lies: the parameters must lie in theirs, as their gradients then do.
    """
    parameters = [parameter for group in groups for parameter in group["params"]]
    arguments = factory.arguments
    has_choice = arguments.get("differentiable") or {arguments.get("fused"), arguments.get("foreach")} != {None}
    plain = all(p.device.type == "cpu" and p.is_floating_point() and p.is_contiguous() for p in parameters)
    plain &= not any(hasattr(p, "full_tensor") for p in parameters)
    ours = getattr(factory.target, "__module__", "").startswith("torch.optim.")
    return {"fused": True} if plain and ours and not has_choice else {}


def load_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Take momenta and so on from a saved `state_dict`; rates and weight decays stay as the recipe has them now."""
    current = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": saved["state"], "param_groups": current})
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def set_learning_rate(optimizer: torch.optim.Optimizer, schedule: Schedule, step: int) -> float:
    """Set each group to its rate at `step`; returns the first group's."""
    factor = schedule(step)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    return float(optimizer.param_groups[0]["lr"])


def matching_names(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Those of `names` that match one of `patterns`, with `*`, `?` and `[]` as in file names."""
    return [name for name in names if name and any(fnmatchcase(name, pattern) for pattern in patterns)]


def gradient_norm(model: nn.Module) -> Tensor:
    """The L2 norm of all gradients together, scalar; 0 where there are none."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    # Of sharded weights it is a sharded scalar.
    whole: Tensor = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    return whole
