"""Search for the recipe that fits weights better than the given one."""

import json
import time
from collections.abc import Mapping

import torch
from det_core import recipes
from det_core.errors import DetError, WeightsError
from torch import Tensor, nn

__all__ = ["better_recipe", "with_hint"]

_SECONDS = 1.0
_SHARE = 0.8

Shapes = frozenset[tuple[str, tuple[int, ...]]]


def better_recipe(state: Mapping[str, Tensor], model_state: Mapping[str, Tensor]) -> str:
    """A sentence that names the installed recipe whose model these weights fit better, or "".

    Models are built without memory, each kind once, for at most a second. A recipe is named if at least four fifths
    of the names with their shapes are the same on both sides, and more than those of the model that was tried.

    Args:
        state: tensors of the weight file by name.
        model_state: the state of the model that was tried.
    """
    shapes = _shapes(state)
    if not any(key.startswith("backbone.") for key in state):  # a part of a model, or none of ours
        return ""
    best, share = "", max(_agreement(shapes, _shapes(model_state)), _SHARE)
    tried: set[str] = set()
    end = time.monotonic() + _SECONDS
    for name in recipes.names():
        if time.monotonic() > end:
            break
        try:
            recipe = recipes.load(name)
            if (kind := json.dumps(recipe.tree["model"], sort_keys=True, default=str)) in tried:
                continue
            tried.add(kind)
            with torch.device("meta"):
                agreement = _agreement(shapes, _shapes(recipe.build_model().state_dict()))
        except (DetError, ImportError, RuntimeError):  # one that cannot be built here is none to recommend
            continue
        if agreement > share:
            best, share = name, agreement
        if share == 1:
            break
    if not best:
        return ""
    if share == 1:  # which other recipes may have, too
        return f"their names and shapes are those of the recipe {best}: try it as the model"
    return f"they fit the recipe {best} better ({share:.0%})"


def with_hint(error: WeightsError, state: Mapping[str, Tensor], model: nn.Module) -> WeightsError:
    """The error of weights that do not fit `model`, with the recipe that they fit better, if one is found in time."""
    better = better_recipe(state, model.state_dict())
    return WeightsError(error.where, error.problem, error.found, f"{better}; or {error.fix}") if better else error


def _shapes(state: Mapping[str, Tensor]) -> Shapes:
    """Names and shapes, except the optional counters of batch norms."""
    return frozenset((key, tuple(value.shape)) for key, value in state.items() if "num_batches_tracked" not in key)


def _agreement(a: Shapes, b: Shapes) -> float:
    """Intersection over union of names and shapes."""
    return len(a & b) / max(len(a | b), 1)
