"""Optimizers and schedulers of a `cfg`, as `detectron2.solver.build`."""

import copy
import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from fvcore.common.param_scheduler import (
    CosineParamScheduler,
    MultiStepParamScheduler,
    StepWithFixedGammaParamScheduler,
)
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from det_detectron2.layer.config import CfgNode
from det_detectron2.layer.solver.lr_scheduler import LRMultiplier, WarmupParamScheduler

__all__ = [
    "build_lr_scheduler",
    "build_optimizer",
    "get_default_optimizer_params",
    "maybe_add_gradient_clipping",
    "reduce_param_groups",
]

_NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm, nn.InstanceNorm1d,
    nn.InstanceNorm2d, nn.InstanceNorm3d, nn.LayerNorm, nn.LocalResponseNorm,
)  # fmt: skip
_Group = dict[str, Any]


def _clipper(cfg: CfgNode) -> Callable[[Iterable[Any]], None]:
    """What limits the gradients of one parameter, as CLIP_GRADIENTS asks for."""
    settings = copy.deepcopy(cfg)

    def by_value(parameters: Iterable[Any]) -> None:
        nn.utils.clip_grad_value_(parameters, settings.CLIP_VALUE)

    def by_norm(parameters: Iterable[Any]) -> None:
        nn.utils.clip_grad_norm_(parameters, settings.CLIP_VALUE, settings.NORM_TYPE)

    return {"value": by_value, "norm": by_norm}[settings.CLIP_TYPE]


def _clipping_class(optimizer: type[torch.optim.Optimizer], clip: Callable[[Any], None]) -> type:
    """A kind of optimizer whose `step` limits the gradient of each parameter first."""

    def step(self: Any, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                clip(parameter)
        return super(type(self), self).step(closure)

    return type(f"{optimizer.__name__}WithGradientClip", (optimizer,), {"step": step})


def maybe_add_gradient_clipping(cfg: CfgNode, optimizer: Any) -> Any:
    """An optimizer, or a kind of optimizer, that limits gradients, if SOLVER.CLIP_GRADIENTS is enabled."""
    if not cfg.SOLVER.CLIP_GRADIENTS.ENABLED:
        return optimizer
    kind = type(optimizer) if isinstance(optimizer, torch.optim.Optimizer) else optimizer
    limited = _clipping_class(kind, _clipper(cfg.SOLVER.CLIP_GRADIENTS))
    if isinstance(optimizer, torch.optim.Optimizer):
        optimizer.__class__ = limited
        return optimizer
    return limited


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """SGD with the settings of SOLVER; on the CPU in one pass over the parameters, as in det's own training."""
    parameters = get_default_optimizer_params(
        model,
        base_lr=cfg.SOLVER.BASE_LR,
        weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
        bias_lr_factor=cfg.SOLVER.BIAS_LR_FACTOR,
        weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
    )
    trained = [parameter for group in parameters for parameter in group["params"]]
    in_one_pass = all(each.device.type == "cpu" and each.is_contiguous() for each in trained)
    optimizer: torch.optim.Optimizer = maybe_add_gradient_clipping(cfg, torch.optim.SGD)(
        parameters,
        lr=cfg.SOLVER.BASE_LR,
        momentum=cfg.SOLVER.MOMENTUM,
        nesterov=cfg.SOLVER.NESTEROV,
        weight_decay=cfg.SOLVER.WEIGHT_DECAY,
        fused=True if in_one_pass else None,
    )
    return optimizer


def get_default_optimizer_params(
    model: nn.Module,
    base_lr: float | None = None,
    weight_decay: float | None = None,
    weight_decay_norm: float | None = None,
    bias_lr_factor: float | None = 1.0,
    weight_decay_bias: float | None = None,
    lr_factor_func: Callable[[str], float] | None = None,
    overrides: dict[str, _Group] | None = None,
) -> list[_Group]:
    """Parameter groups, each with its learning rate and weight decay.

    Args:
        model: model whose trainable parameters are grouped.
        base_lr: learning rate; required with `bias_lr_factor` or `lr_factor_func`.
        weight_decay: weight decay of all parameters without a more specific setting.
        weight_decay_norm: weight decay of norms.
        bias_lr_factor: learning rate multiplier of biases.
        weight_decay_bias: weight decay of biases.
        lr_factor_func: function from a parameter name to its learning rate multiplier.
        overrides: group settings by the last part of the parameter name, such as {"bias": {"lr": 0.1}}.
    """
    defaults = {name: value for name, value in (("lr", base_lr), ("weight_decay", weight_decay)) if value is not None}
    special: dict[str, _Group] = {}
    if bias_lr_factor is not None and bias_lr_factor != 1.0:
        if base_lr is None:
            raise ValueError("bias_lr_factor requires base_lr")
        special.setdefault("bias", {})["lr"] = base_lr * bias_lr_factor
    if weight_decay_bias is not None:
        special.setdefault("bias", {})["weight_decay"] = weight_decay_bias
    for name, current in (overrides or {}).items():
        if name in special:
            raise ValueError("Conflicting overrides for 'bias'")
        special[name] = current
    if lr_factor_func is not None and base_lr is None:
        raise ValueError("lr_factor_func requires base_lr")
    groups: list[_Group] = []
    done: set[nn.Parameter] = set()
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in done:
                continue
            done.add(parameter)
            current = dict(defaults)
            if isinstance(module, _NORMS) and weight_decay_norm is not None:
                current["weight_decay"] = weight_decay_norm
            if lr_factor_func is not None:
                current["lr"] *= lr_factor_func(f"{module_name}.{name}")
            groups.append({"params": [parameter], **current, **special.get(name, {})})
    return reduce_param_groups(groups)


def _expand_param_groups(params: list[_Group]) -> list[_Group]:
    """One group for each parameter; of one that is in several, the settings of the later ones hold."""
    results: dict[Any, _Group] = defaultdict(dict)
    for group in params:
        assert "params" in group
        settings = {name: value for name, value in group.items() if name != "params"}
        for parameter in group["params"]:
            results[parameter].update({"params": [parameter], **settings})
    return list(results.values())


def reduce_param_groups(params: list[_Group]) -> list[_Group]:
    """As few groups as there are different settings, which is faster to step."""
    joined: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for group in _expand_param_groups(params):
        settings = tuple((name, value) for name, value in group.items() if name != "params")
        joined[settings].extend(group["params"])
    return [{**dict(settings), "params": list(itertools.chain(current))} for settings, current in joined.items()]


def build_lr_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> LRScheduler:
    """The learning rate over the training that SOLVER describes.

    Raises:
        ValueError: there is no SOLVER.LR_SCHEDULER_NAME of this name.
    """
    current, name = cfg.SOLVER, cfg.SOLVER.LR_SCHEDULER_NAME
    if name == "WarmupMultiStepLR":
        steps = [each for each in current.STEPS if each <= current.MAX_ITER]
        if len(steps) != len(current.STEPS):
            logging.getLogger(__name__).warning("SOLVER.STEPS after SOLVER.MAX_ITER are ignored: %s", current.STEPS)
        values = [current.GAMMA**count for count in range(len(steps) + 1)]
        scheduler: Any = MultiStepParamScheduler(values=values, milestones=steps, num_updates=current.MAX_ITER)
    elif name == "WarmupCosineLR":
        end = current.BASE_LR_END / current.BASE_LR
        assert 0.0 <= end <= 1.0, end
        scheduler = CosineParamScheduler(1, end)
    elif name == "WarmupStepWithFixedGammaLR":
        scheduler = StepWithFixedGammaParamScheduler(
            base_value=1.0, gamma=current.GAMMA, num_decays=current.NUM_DECAYS, num_updates=current.MAX_ITER
        )
    else:
        raise ValueError(f"Unknown LR scheduler: {name}")
    warm = WarmupParamScheduler(
        scheduler,
        current.WARMUP_FACTOR,
        min(current.WARMUP_ITERS / current.MAX_ITER, 1.0),
        current.WARMUP_METHOD,
        current.RESCALE_INTERVAL,
    )
    return LRMultiplier(optimizer, multiplier=warm, max_iter=current.MAX_ITER)
