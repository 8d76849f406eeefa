"""Prediction and training, as `detectron2.engine`."""

from det_detectron2.layer.engine import hooks
from det_detectron2.layer.engine.defaults import (
    DefaultPredictor,
    create_ddp_model,
    default_argument_parser,
    default_setup,
    default_writers,
)
from det_detectron2.layer.engine.hooks import *  # noqa: F403
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
    *hooks.__all__,
]
