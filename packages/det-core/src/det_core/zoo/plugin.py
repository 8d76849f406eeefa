"""The recipes of core, as its second plugin module: names as data, nothing is imported."""

from det_core.plugins.hooks import hookimpl
from det_core.zoo import PUBLISHED, TORCHVISION, UNPUBLISHED


@hookimpl
def det_recipes() -> dict[str, str]:
    """Recipe files in this folder; the published path of a configuration is an alias of its name."""
    files = {name: f"det_core:zoo/{name}.yaml" for name in UNPUBLISHED}
    for folder, published in (PUBLISHED | TORCHVISION).items():
        for name, configuration in published.items():
            files[name] = files[f"{folder}/{configuration}"] = f"det_core:zoo/{name}.yaml"
    return files
