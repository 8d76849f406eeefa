"""The learning rate of another batch size."""

import copy
from collections.abc import Sequence
from typing import Any

from det_core.cli.output import echo
from det_core.errors import ConfigError
from det_core.recipes import Recipe, load, recipe_from_tree

__all__ = ["scale_learning_rate", "scaled"]


def scale_learning_rate(recipe: Recipe, batch_size: int, fixed: Sequence[str] = ()) -> tuple[Recipe, list[str]]:
    """The linear rule (Goyal et al., 2017): the rate grows with the batch, the steps and the warmup shrink with it.

    Args:
        recipe: recipe with a value of `train.optimizer.lr`.
        batch_size: the new number of images per step.
        fixed: paths such as "train.steps" that keep their values.

    Returns:
        The recipe, resolved, with another batch size; and a sentence for each value that has changed.
    """
    tree: dict[str, Any] = copy.deepcopy(dict(recipe.resolved().tree))
    section: dict[str, Any] = tree["train"]
    changes: list[str] = []
    factor = batch_size / section["batch_size"]

    def change(node: dict[str, Any], key: str, value: Any, where: str) -> None:
        if node[key] != value and f"train.{where}{key}" not in fixed:
            changes.append(f"train.{where}{key}: {node[key]} -> {value}")
            node[key] = value

    if "lr" not in section["optimizer"]:
        raise ConfigError("train.optimizer.lr", "is not there to be scaled")
    change(section["optimizer"], "lr", section["optimizer"]["lr"] * factor, "optimizer.")
    change(section, "batch_size", batch_size, "")
    for key in ("steps", "evaluate_every", "checkpoint_every"):
        if section.get(key):
            change(section, key, max(1, round(section[key] / factor)), "")
    schedule = section["schedule"]
    if schedule.get("warmup"):
        change(schedule, "warmup", max(1, round(schedule["warmup"] / factor)), "schedule.")
    if schedule.get("milestones"):
        change(schedule, "milestones", [round(each / factor) for each in schedule["milestones"]], "schedule.")
    return recipe_from_tree(tree, recipe.source), changes


def scaled(loaded: Recipe, recipe: str, overrides: Sequence[str]) -> Recipe:
    """For `det train --scale-lr`: the learning rate that was chosen for the recipe's batch size, for the one set.

    Args:
        loaded: the recipe with all overrides.
        recipe: name or file of the recipe without overrides.
        overrides: overrides of the user, "path=value".
    """
    original = load(recipe, [each for each in overrides if not each.startswith("train.batch_size=")])
    paths = [each.partition("=")[0] for each in overrides]
    size = loaded.resolved().tree["train"]["batch_size"]
    result, changes = scale_learning_rate(original, size, fixed=[path for path in paths if path != "train.batch_size"])
    for change in changes or ["nothing to scale: train.batch_size is that of the recipe"]:
        echo(f"scaled by the linear rule: {change}", err=True)
    return result
