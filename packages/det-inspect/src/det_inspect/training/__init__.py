"""Trials before a training, and callbacks: logging backends, early stopping, pictures, a profile."""

from det_inspect.training.anchors import AnchorFit
from det_inspect.training.best_checkpoint import BestCheckpoint
from det_inspect.training.early_stopping import EarlyStopping
from det_inspect.training.loggers import MLflow, TensorBoard, WandB
from det_inspect.training.pictures import Profile, SamplePredictions
from det_inspect.training.trial import (
    DryRun,
    FirstImages,
    LearningRates,
    StopAt,
    Subset,
    dry_run,
    find_learning_rate,
    overfit,
)

__all__ = [
    "AnchorFit",
    "BestCheckpoint",
    "DryRun",
    "EarlyStopping",
    "FirstImages",
    "LearningRates",
    "MLflow",
    "Profile",
    "SamplePredictions",
    "StopAt",
    "Subset",
    "TensorBoard",
    "WandB",
    "dry_run",
    "find_learning_rate",
    "overfit",
]
