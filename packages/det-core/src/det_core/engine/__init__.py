"""Training and evaluation."""

from det_core.engine.callbacks import EMA, Callback
from det_core.engine.checkpoint import Checkpoint, read_about, read_checkpoint
from det_core.engine.evaluate import Evaluation, evaluate, predict
from det_core.engine.loop import Outcome, Trainer
from det_core.engine.optim import ClipGradients, LayerDecay, ParamGroups
from det_core.engine.parallel import Parallel
from det_core.engine.progress import Display
from det_core.engine.run import RunFolder
from det_core.engine.sanity_checks import check_classes
from det_core.engine.scalars import read_scalars
from det_core.engine.schedules import OneCycle, Schedule, WarmupCosine, WarmupMultiStep, WarmupPoly, WarmupSteps
from det_core.engine.settings import Train, pick_device
from det_core.engine.start import initial_model, train
from det_core.engine.validation import Best

__all__ = [
    "EMA",
    "Best",
    "Callback",
    "Checkpoint",
    "ClipGradients",
    "Display",
    "Evaluation",
    "LayerDecay",
    "OneCycle",
    "Outcome",
    "Parallel",
    "ParamGroups",
    "RunFolder",
    "Schedule",
    "Train",
    "Trainer",
    "WarmupCosine",
    "WarmupMultiStep",
    "WarmupPoly",
    "WarmupSteps",
    "check_classes",
    "evaluate",
    "initial_model",
    "pick_device",
    "predict",
    "read_about",
    "read_checkpoint",
    "read_scalars",
    "train",
]
