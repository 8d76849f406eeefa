"""Checks of model, data and metrics before the first training step."""

from itertools import islice
from pathlib import Path

from torch import nn

from det_core.contracts import Dataset
from det_core.data import Data, EvalLoader
from det_core.engine.evaluate import Evaluation, evaluate
from det_core.engine.settings import Train
from det_core.errors import ConfigError, DataError

__all__ = ["check_classes", "check_validation", "require_metric"]


def check_classes(model: nn.Module, dataset: Dataset) -> None:
    """Refuse a model whose number of classes is not that of the dataset.

    Raises:
        ConfigError: with the override that mends it.
    """
    have, need = getattr(model, "num_classes", None), len(dataset.classes)
    if have is not None and have != need:
        named = ", ".join(dataset.classes[:5]) + (" ..." if need > 5 else "")
        found = f"the model has {have}, the dataset has {need} ({named})"
        fix = f"add --set model.num_classes={need}"
        raise ConfigError("model.num_classes", "is not the number of classes in the data", found, fix)


def check_validation(model: nn.Module, data: Data, settings: Train) -> None:
    """Evaluate the first image of `data.val` for nothing but its errors; the model is left as it was.

    Raises:
        DataError: an image file of the set is missing, or the evaluators cannot use the set.
        ConfigError: its classes are not those of `data.train`, or `train.best_metric` will not be there.
    """
    if data.val is None:
        return
    dataset = data.dataset("val")
    if data.on_bad_image == "stop":
        _require_files(dataset)
        loader = EvalLoader(dataset=dataset, batch_size=1, transforms=data.eval_transforms)
        evaluators = data.build_evaluators("val")
        with_loss = settings.validation_loss
        result = evaluate(model, islice(loader, 1), evaluators, with_loss, settings.precision, alone=True)
        notes = {name for evaluator in evaluators for name in getattr(evaluator, "notes", {})}
        require_metric(settings.best_metric, result, notes)


def require_metric(name: str | None, result: Evaluation, possible: set[str] = frozenset()) -> str:  # type: ignore[assignment]
    """The metric that chooses the best weights: `name`, or by default the first; "" if an evaluation may bring it.

    Args:
        name: name of the metric, `train.best_metric`; None for the first.
        result: evaluation whose metrics are searched.
        possible: names of metrics that this evaluation lacks, but another may have.

    Raises:
        ConfigError: there is no such metric.
    """
    metric = name or next(iter(result.metrics), "")
    if metric not in result.metrics:
        if possible and (name is None or name in possible):
            return ""
        found = f"found {', '.join(sorted({*result.metrics, *possible})) or 'no metric at all'}"
        fix = "name one of them in train.best_metric, and go on with --resume"
        raise ConfigError("train.best_metric", f"there is no {metric!r}", found, fix)
    return metric


def _require_files(dataset: Dataset) -> None:
    path = getattr(dataset, "path", None)
    if not callable(path) or not isinstance(path(0), Path) or not path(0).exists():
        return  # the first image, which is read, has a better error
    missing = [path(index) for index in range(len(dataset)) if not path(index).exists()]
    if missing:
        found = f"{len(missing)} of {len(dataset)} images of data.val are missing"
        fix = "restore them, or set data.on_bad_image=skip"
        raise DataError(str(missing[0]), "there is no such image file", found, fix)
