"""The recipes of core, as its second plugin module: names as data, nothing is imported."""

from det_core.plugins.hooks import hookimpl, recipe_files
from det_core.zoo import PUBLISHED, TORCHVISION, UNPUBLISHED


@hookimpl
def det_recipes() -> dict[str, str]:
    """Recipe files in this folder; the published path of a configuration is an alias of its name."""
    return recipe_files("det_core:zoo", PUBLISHED | TORCHVISION, UNPUBLISHED)
