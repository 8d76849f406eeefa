"""The licence of published weights, as far as their publishers state it."""

from det_core.zoo import published

__all__ = ["licence_of"]


def licence_of(recipe: str) -> str:
    """The licence (SPDX) of the published weights of a recipe, by any name of it; "" if unknown."""
    model = published.of_recipe(recipe)
    return "" if model is None else model.licenses.get("weights", "")
