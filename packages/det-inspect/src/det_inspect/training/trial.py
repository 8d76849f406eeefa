"""Before a long training: whether it works at all, how long it takes, whether it learns, and at which rate."""

import copy
import math
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from det_core.contracts import Dataset
from det_core.data import EvalLoader
from det_core.engine.batches import step_batches
from det_core.engine.distributed import rank_and_world_size
from det_core.engine.evaluate import evaluate
from det_core.engine.loop import Outcome
from det_core.engine.parallel import Parallel, Processes
from det_core.engine.progress import memory_in_use
from det_core.engine.sanity_checks import check_classes
from det_core.engine.settings import Train, pick_device
from det_core.engine.start import in_steps, initial_model, train
from det_core.engine.step import Step, prepare_model
from det_core.errors import ConfigError
from det_core.recipes import Recipe, recipe_from_tree
from det_core.structures import Sample

__all__ = ["DryRun", "LearningRates", "Subset", "dry_run", "find_learning_rate", "overfit", "require_one_process"]


def require_one_process(where: str) -> None:
    """Raise ConfigError if this is one of several processes."""
    if (count := max(int(os.environ.get("WORLD_SIZE", "1")), rank_and_world_size()[1])) > 1:
        raise ConfigError(where, "works in one process", f"torchrun started {count}", "start it without torchrun")


class Subset:
    """A subset of the images of a dataset, with its other attributes.

    Args:
        dataset: dataset with all its images.
        indices: those that are in the subset.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, tuple(indices)
        self.classes, self.evaluators = dataset.classes, dataset.evaluators

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[self.indices[index]]

    def __getattr__(self, name: str) -> Any:
        if name in ("dataset", "indices", "num_objects") or name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self.dataset, name)
        if name in ("path", "labels_of", "size_of"):
            return lambda index: value(self.indices[index])
        return value


@dataclass(frozen=True)
class DryRun:
    """Results of a dry run.

    Attributes:
        seconds_per_step: seconds of a training step, after the first one.
        seconds_per_image: seconds of evaluation of an image; None without a validation set.
        hours: an estimate for the whole training with its evaluations.
        memory: GiB, at the highest point.
        losses: losses of the second step by name.
        metrics: names of the metrics of an evaluation.
    """

    seconds_per_step: float
    seconds_per_image: float | None
    hours: float
    memory: float
    losses: dict[str, float]
    metrics: tuple[str, ...]


def dry_run(recipe: Recipe, images: int = 4) -> DryRun:
    """Build everything, train two steps, evaluate a handful of images; writes nothing.

    Raises:
        DetError: any error that the training would raise.
    """
    recipe = recipe.resolved()
    settings, data, model, step, processes = _built(recipe)
    batches = step_batches(data, settings, processes, 0)
    first = step.gradients(next(batches))
    step.update()
    began = time.perf_counter()
    losses = step.gradients(next(batches))
    step.update()
    per_step, per_image = time.perf_counter() - began, None
    if not all(math.isfinite(value) for value in (*first.values(), *losses.values())):
        raise ConfigError("train", "makes losses that are not finite", str(losses), "lower train.optimizer.lr")
    names: tuple[str, ...] = ()
    hours = per_step * settings.steps / 3600
    if data.val is not None:
        dataset, evaluators = data.dataset("val"), data.build_evaluators("val")
        count = min(images, len(dataset))
        few = Subset(dataset, range(count))
        loader = EvalLoader(dataset=few, batch_size=1, transforms=data.eval_transforms)
        began = time.perf_counter()
        result = evaluate(model, loader, evaluators, settings.validation_loss, settings.precision)
        per_image = (time.perf_counter() - began) / count
        notes = {name for evaluator in evaluators for name in getattr(evaluator, "notes", {})}
        names = tuple(dict.fromkeys((*result.metrics, *sorted(notes))))
        times = math.ceil(settings.steps / (settings.evaluate_every or settings.steps))
        hours += times * per_image * len(dataset) / 3600
    return DryRun(per_step, per_image, hours, memory_in_use(step.device), losses, names)


def _built(recipe: Recipe) -> tuple[Train, Any, torch.nn.Module, Step, Processes]:
    data = replace(recipe.build("data"), workers=0)
    settings = in_steps(recipe, data).build("train")
    dataset = data.dataset("train")
    with torch.device("meta"):
        empty = recipe.build_model()
    check_classes(empty, dataset)
    if data.val is not None:
        data.dataset("val")
    torch.manual_seed(settings.seed)
    device = pick_device(settings.device)
    processes = Processes(settings.parallel or Parallel(), device)
    model = prepare_model(initial_model(recipe), settings, device)
    return settings, data, model, Step(model, settings, device, processes), processes


@dataclass(frozen=True)
class LearningRates:
    """Losses by learning rate, and the rate to begin with: where the smoothed loss falls fastest; None if it does not.

    Attributes:
        rates: learning rates in ascending order.
        losses: smoothed loss at each learning rate.
        suggestion: learning rate to begin with, or None.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float | None


def find_learning_rate(recipe: Recipe, lowest: float = 1e-6, highest: float = 1.0, steps: int = 100) -> LearningRates:
    """Train with a rate that rises from step to step until the loss explodes (Smith, 2017); writes nothing.

    Args:
        recipe: recipe to train, as for `train`.
        lowest: learning rate of the first step.
        highest: learning rate of the last step.
        steps: number of steps, at equal factors of the learning rate.
    """
    if not 0 < lowest < highest or steps < 5:
        raise ConfigError("lr-find", "needs rising rates and at least 5 steps", f"got {lowest}, {highest}, {steps}")
    settings, data, _, step, processes = _built(recipe.resolved())
    base = [group["base_lr"] for group in step.optimizer.param_groups]
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    for number, batch in enumerate(islice(step_batches(data, settings, processes, 0), steps)):
        rate = lowest * (highest / lowest) ** (number / (steps - 1))
        for group, group_lr in zip(step.optimizer.param_groups, base, strict=True):
            group["lr"] = rate * group_lr / base[0]
        loss = step.gradients(batch)["loss"]
        average = 0.9 * average + 0.1 * loss
        smooth = average / (1 - 0.9 ** (number + 1))
        if not math.isfinite(loss) or (losses and smooth > 4 * min(losses)):
            break
        step.update()
        rates.append(rate)
        losses.append(smooth)
    return LearningRates(tuple(rates), tuple(losses), _steepest(rates, losses))


def _steepest(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    slopes = [losses[i + 1] - losses[i - 1] for i in range(1, len(losses) - 1)]
    if not slopes or min(slopes) >= 0:
        return None
    return rates[1 + slopes.index(min(slopes))]


def overfit(recipe: Recipe, images: int, steps: int = 1000, **options: Any) -> tuple[Outcome, float | None]:
    """Train on the first `images` images until the model has overfit them; writes no files.

    Augmentation is left out, the rate is constant after a short warmup, and the same images are evaluated.

    Returns:
        The outcome, and the best value of the chosen metric.
    """
    tree: dict[str, Any] = copy.deepcopy(dict(recipe.resolved().tree))
    subset = {"type": "det_inspect.training:FirstImages", "dataset": tree["data"]["train"], "count": images}
    tree["data"] |= {"train": subset, "val": subset, "train_transforms": tree["data"].get("eval_transforms") or []}
    tree["data"] |= {"sampler": None, "aspect_ratio_grouping": False}
    train_section = dict(tree["train"])
    train_section |= {
        "steps": steps,
        "epochs": None,
        "evaluate_every": max(1, steps // 20),
        "checkpoint_every": None,
        "ema": None,
    }
    train_section["schedule"] = {"type": "det_core.engine.schedules:WarmupMultiStep", "warmup": min(50, steps)}
    train_section["callbacks"] = [{"type": "det_inspect.training:StopAt"}]
    tree["train"] = train_section
    with tempfile.TemporaryDirectory(prefix="det-overfit-") as folder:
        outcome = train(recipe_from_tree(tree, "overfit"), Path(folder), **options)
    return outcome, None if outcome.best is None else outcome.best.value


class FirstImages(Subset):
    """The first images of a dataset.

    Args:
        dataset: dataset with all its images.
        count: number of images from the start.
    """

    def __init__(self, dataset: Dataset, count: int) -> None:
        super().__init__(dataset, range(min(count, len(dataset))))


class StopAt:
    """Ends a training once the first metric of its evaluations is high enough.

    Args:
        value: minimum of the metric that ends the training.
    """

    def __init__(self, value: float = 0.9) -> None:
        self.value = value

    def after_evaluation(self, trainer: Any, metrics: dict[str, float]) -> None:
        """Check the metric."""
        name = trainer.validation.best.metric
        if metrics[name] > self.value:
            trainer.request_stop(f"{name} is above {self.value}")
