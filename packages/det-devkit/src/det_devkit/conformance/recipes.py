"""Checks of recipes: they build, and resolve to themselves."""

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from det_core import recipes
from det_core.recipes import Recipe

from det_devkit.conformance.report import Failed, check

__all__ = ["RECIPE", "NamedRecipe"]


@dataclass(eq=False)
class NamedRecipe:
    """A recipe of a plugin."""

    name: str

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe, as a user would load it."""
        return recipes.load(self.name)


@check("it can be read and fits its constructors", gate=True)
def fits(subject: NamedRecipe) -> None:
    """Every name resolves, and every value fits the signature that it is passed to."""
    subject.recipe.check()


@check("it has a summary")
def summarised(subject: NamedRecipe) -> None:
    """`det recipes` shows the summary."""
    if not subject.recipe.summary:
        raise Failed("it has no summary", "write `summary: ...` in its first line")


@check("its model can be built on the meta device", gate=True)
def builds(subject: NamedRecipe) -> None:
    """Building needs no memory, no file and no tensor values."""
    with torch.device("meta"):
        model = subject.recipe.build_model()
    real = [name for name, tensor in model.state_dict().items() if not tensor.is_meta]
    if real:
        fix = "make tensors in constructors without naming a device"
        raise Failed(f"{len(real)} tensors are on another device, the first is {real[0]}", fix)


@check("it resolves to the same recipe")
def resolves(subject: NamedRecipe) -> None:
    """Written to a file with all values and read again, it resolves to itself and builds the same model."""
    resolved = subject.recipe.resolved()
    with tempfile.TemporaryDirectory() as folder:
        again = recipes.load(resolved.save(Path(folder) / "recipe.resolved.yaml"))
    if again.resolved() != resolved:
        before, after = resolved.to_yaml().splitlines(), again.resolved().to_yaml().splitlines()
        changed = next(
            (f"{a.strip()!r} became {b.strip()!r}" for a, b in zip(before, after, strict=False) if a != b), ""
        )
        raise Failed(f"it resolves to another recipe: {changed}", "use defaults that a recipe can express")
    with torch.device("meta"):
        shapes = [{k: v.shape for k, v in each.build_model().state_dict().items()} for each in (subject.recipe, again)]
    if shapes[0] != shapes[1]:
        keys = sorted(shapes[0].items() ^ shapes[1].items())
        raise Failed(
            f"the resolved recipe builds another model, first at {keys[0][0]}", "use defaults that a recipe can express"
        )


RECIPE = (fits, summarised, builds, resolves)
