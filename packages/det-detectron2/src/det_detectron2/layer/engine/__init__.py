"""Prediction and training, as `detectron2.engine`; hooks are imported when one is used."""

from typing import Any

from det_detectron2.layer.engine.defaults import (
    DefaultPredictor,
    create_ddp_model,
    default_argument_parser,
    default_setup,
    default_writers,
)
from det_detectron2.layer.engine.launch import DEFAULT_TIMEOUT, launch
from det_detectron2.layer.engine.train_loop import AMPTrainer, HookBase, SimpleTrainer, TrainerBase
from det_detectron2.layer.engine.trainer import DefaultTrainer

__all__ = [
    "DEFAULT_TIMEOUT",
    "AMPTrainer",
    "DefaultPredictor",
    "DefaultTrainer",
    "HookBase",
    "SimpleTrainer",
    "TrainerBase",
    "create_ddp_model",
    "default_argument_parser",
    "default_setup",
    "default_writers",
    "hooks",
    "launch",
]


def __getattr__(name: str) -> Any:
    """`hooks`, and each of them."""
    if name.startswith("_"):
        raise AttributeError(name)
    from importlib import import_module

    hooks = import_module("det_detectron2.layer.engine.hooks")
    if name == "hooks":
        return hooks
    if name in hooks.__all__:
        return getattr(hooks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
