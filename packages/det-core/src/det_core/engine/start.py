"""Start a training from a recipe, or go on with it."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from det_core.data import Data
from det_core.engine import loop
from det_core.engine.checkpoint import load_state
from det_core.engine.distributed import ends_together, first, process_group
from det_core.engine.environment import write_environment
from det_core.engine.interrupt import StopRequest
from det_core.engine.loop import Outcome
from det_core.engine.progress import Display
from det_core.engine.resume import restore
from det_core.engine.run import RunFolder
from det_core.engine.sanity_checks import check_classes
from det_core.engine.settings import Train
from det_core.recipes import Recipe

__all__ = ["in_steps", "initial_model", "train"]


def train(
    recipe: Recipe,
    output: Path | str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    console: Console | None = None,
    callbacks: Sequence[Any] = (),
) -> Outcome:
    """Train as `recipe` describes, and leave checkpoints, scalars and the resolved recipe in `output`.

    Under `torchrun` all processes train together, and rank 0 writes. On SIGINT or SIGTERM the step under way is
    finished and everything that `resume` needs is written.

    Args:
        recipe: recipe with the sections `model`, `data` and `train`, and `weights` if it does not start at random.
        output: the folder of the run.
        resume: go on with the run in `output`, on the CPU bit for bit as if it had not been interrupted; begin it where
            nothing is saved yet.
        overwrite: start again where a run is already.
        console: console for progress; None for standard error.
        callbacks: more of them, after those of the recipe; see `Callback`.

    Raises:
        ConfigError: model and data do not fit together, or the images of a step do not divide among the processes.
        CheckpointError: `output` cannot be used.
        DataError: an image cannot be used, and `data.on_bad_image` is not "skip".
        TrainingError: the loss is no longer finite, memory does not suffice, or another process has ended.
    """
    recipe, data, settings = _built(recipe, callbacks)
    folder = RunFolder(Path(output))
    with ExitStack() as stack:
        rank, world_size = stack.enter_context(process_group())
        stop = stack.enter_context(StopRequest())  # first: torchrun sends SIGTERM while another's failure is explained
        stack.enter_context(ends_together())
        settings.local_batch_size(world_size)
        _check_data(recipe, data)
        first(lambda: stack.enter_context(folder.locked()))
        changes, state = _admitted(recipe, folder, resume, overwrite)
        torch.manual_seed(settings.seed)
        model = recipe.build_model() if state else initial_model(recipe)
        display = stack.enter_context(Display(settings.steps, Console(quiet=True) if rank else console))
        trainer = loop.Trainer(model, data, settings, folder, recipe, display, stop)
        changes += restore(trainer, state) if state else []
        first(lambda: folder.open(recipe, bool(state)))
        if rank == 0:
            write_environment(folder.environment, world_size)
        _announce(trainer, "going on after" if state else "beginning at", changes)
        return trainer.run()


def _built(recipe: Recipe, callbacks: Sequence[Any]) -> tuple[Recipe, Data, Train]:
    """The resolved recipe, its number of steps included, its data, and its settings with further callbacks."""
    recipe = recipe.resolved()
    data = recipe.build("data")
    recipe = in_steps(recipe, data)
    settings = recipe.build("train")
    return recipe, data, replace(settings, callbacks=(*settings.callbacks, *callbacks))


def in_steps(recipe: Recipe, data: Any) -> Recipe:
    """A resolved recipe whose `train.epochs`, if it has them, are `train.steps` of the images in `data.train`."""
    section = recipe.tree["train"]
    if section["epochs"] is None:
        return recipe
    steps = math.ceil(section["epochs"] * len(data.dataset("train")) / section["batch_size"])
    return replace(recipe, tree={**recipe.tree, "train": {**section, "steps": max(1, steps), "epochs": None}})


def _check_data(recipe: Recipe, data: Any) -> None:
    """Refuse a dataset of other classes than those of the model, before anything is written."""
    dataset = data.dataset("train")
    with torch.device("meta"):
        empty = recipe.build_model()
    check_classes(empty, dataset)


def _admitted(recipe: Recipe, folder: RunFolder, resume: bool, overwrite: bool) -> tuple[list[str], dict[str, Any]]:
    """Changes since the run in a folder began, and the state to resume; empty for a new run."""
    changes = first(lambda: folder.admit(recipe, resume, overwrite))
    resume = first(lambda: resume and folder.state.exists())
    return changes, first(lambda: load_state(folder.state) if resume else {})


def _announce(trainer: loop.Trainer, where: str, changes: Sequence[str]) -> None:
    """Show where a training begins, and changes since then; from here on rank 0 also writes to a file."""
    if trainer.processes.rank == 0:
        trainer.display.log_to(trainer.folder.console)
    of_all = f" of {trainer.settings.steps}" if trainer.step else ""
    trainer.display.write(f"{where} step {trainer.step}{of_all}")
    for change in changes:
        trainer.display.write(f"changed since this run began: {change}")


def initial_model(recipe: Recipe) -> nn.Module:
    """The model of a recipe with the weights that it starts from, its section `weights`; at random where it has none.

    Raises:
        WeightsError: the file cannot be read, or does not fit.
    """
    model: nn.Module = recipe.build_model()
    if (initial := recipe.build("weights")) is not None:
        initial.load(model)
    return model
