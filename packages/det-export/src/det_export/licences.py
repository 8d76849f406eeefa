"""Under which licence published weights are, as far as their publishers write."""

from collections.abc import Mapping

from det_core.zoo import published

__all__ = ["licence_of"]

# Where weights lie: the licence (SPDX) that the publisher's list of models names for all of them.
_LICENCES: Mapping[str, str] = {
    "https://dl.fbaipublicfiles.com/detectron2/": "CC-BY-SA-3.0",
    "https://dl.fbaipublicfiles.com/densepose/": "CC-BY-SA-3.0",
}


def licence_of(recipe: str) -> str:
    """The licence of the published weights of a recipe, by any name of it; "" where none is known."""
    model = published.of_recipe(recipe)
    weights = "" if model is None or model.weights is None else model.weights
    return next((licence for place, licence in _LICENCES.items() if weights.startswith(place)), "")
