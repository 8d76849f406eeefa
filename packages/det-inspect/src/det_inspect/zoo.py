"""Published models: figures, recipes and packages by the names of models and recipes."""

from collections.abc import Mapping

from det_core.errors import UnknownNameError, WeightsError
from det_core.plugins import known, registry
from det_core.zoo.published import PublishedModel, aliases, models, of_recipe

__all__ = ["TASKS", "figures_of", "package_of", "published_model", "recipe_of", "weights_of"]

TASKS = ("detection", "instances", "keypoints", "proposals", "semantic", "panoptic", "densepose")

# Metric -> its published names, of which the first present one counts.
_FIGURES: Mapping[str, tuple[str, ...]] = {
    "box_ap": ("box AP", "Box AP"),
    "mask_ap": ("mask AP", "Mask AP", "segm AP"),
    "keypoint_ap": ("kp. AP",),
    "seconds": ("inference time (s/im)",),
    "gigabytes": ("train mem (GB)",),
}


def published_model(name: str) -> PublishedModel:
    """The model of a published name, or of the name of its recipe.

    Raises:
        UnknownNameError: there is no such model.
    """
    known_models = models()
    published = name.removesuffix(".yaml").removesuffix(".py")
    if published in known_models:
        return known_models[published]
    if model := of_recipe(name):
        return model
    shorts = [each.name for each in registry.components("recipes") if "/" not in each.name]
    if name in shorts:
        raise UnknownNameError(f"model {name!r}", "is a recipe of no published model", fix="`det zoo list` lists them")
    near = registry.did_you_mean(name, [*known_models, *shorts])
    raise UnknownNameError(f"model {name!r}", "is not published", fix=near or "`det zoo list` lists those that are")


def figures_of(model: PublishedModel) -> dict[str, float]:
    """The reported "box_ap", "mask_ap", "keypoint_ap", "seconds" and "gigabytes", as far as there are any.

    Average precisions are percents, the seconds those of inference per image, the gigabytes those of training.
    """
    every = {key: [label for label in labels if label in model.reported] for key, labels in _FIGURES.items()}
    return {key: float(model.reported[labels[0]]) for key, labels in every.items() if labels}


def package_of(model: PublishedModel) -> str:
    """The distribution with its recipe; "" for none."""
    return known.provider(model.name) or ("" if model.name.startswith("d2go/") else "det-core")


def recipe_of(model: PublishedModel) -> str:
    """The short name of its installed recipe, or ""."""
    for component in registry.components("recipes"):
        if component.name == model.name:
            return min((each.name for each in aliases(component)), key=lambda name: ("/" in name, name))
    return ""


def weights_of(model: PublishedModel) -> str:
    """The address of its weights.

    Raises:
        WeightsError: none were published.
    """
    if model.weights is None:
        raise WeightsError(model.name, "has no published weights", fix="give a file of your own as the weights")
    return model.weights
