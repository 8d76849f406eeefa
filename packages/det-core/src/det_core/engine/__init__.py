"""Training and evaluation."""

from det_core.engine.checkpoint import Checkpoint, read_about, read_checkpoint
from det_core.engine.evaluate import Evaluation, evaluate, predict
from det_core.engine.loop import Best, Outcome, Trainer, initial_model, train
from det_core.engine.optim import ClipGradients, LayerDecay, ParamGroups
from det_core.engine.progress import Display
from det_core.engine.proposals import convert_proposals
from det_core.engine.run import RunFolder, check_classes
from det_core.engine.scalars import read_scalars
from det_core.engine.schedules import Schedule, WarmupCosine, WarmupMultiStep
from det_core.engine.settings import Train, pick_device

__all__ = [
    "Best",
    "Checkpoint",
    "ClipGradients",
    "Display",
    "Evaluation",
    "LayerDecay",
    "Outcome",
    "ParamGroups",
    "RunFolder",
    "Schedule",
    "Train",
    "Trainer",
    "WarmupCosine",
    "WarmupMultiStep",
    "check_classes",
    "convert_proposals",
    "evaluate",
    "initial_model",
    "pick_device",
    "predict",
    "read_about",
    "read_checkpoint",
    "read_scalars",
    "train",
]
