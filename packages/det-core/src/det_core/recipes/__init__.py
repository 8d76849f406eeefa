"""Recipes: constructor calls of a model, its weights, its data and its training, as data; no torch.

`load(NAME or FILE)` gives a `Recipe`, which is checked against the constructors that it names and built. A parameter
annotated `Factory[T]` receives its node unbuilt.
"""

from det_core.recipes.check import Source
from det_core.recipes.nodes import Factory, Plan
from det_core.recipes.recipe import Listed, Recipe, listing, load, names, recipe_from_tree

__all__ = ["Factory", "Listed", "Plan", "Recipe", "Source", "listing", "load", "names", "recipe_from_tree"]
