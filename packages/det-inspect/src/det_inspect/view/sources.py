"""Data sets that the arguments of `det view` name."""

from dataclasses import replace
from pathlib import Path

from det_core.errors import ConfigError

from det_inspect.cli.data_sources import Sources

__all__ = ["images_beside", "sources_with"]


def sources_with(names: tuple[str, ...], sources: Sources) -> Sources:
    """The sources of the options, with those of the arguments: annotation files, or one recipe.

    Raises:
        ConfigError: an argument is a file that is not there, or a second recipe.
    """
    recipe, files, images = sources.recipe, list(sources.annotations), list(sources.images)
    for name in names:
        path = Path(name)
        if path.suffix.lower() == ".json":
            if not path.is_file():
                raise ConfigError(name, "there is no such file", fix="name an annotation file in COCO's format")
            files.append(path)
        elif recipe is not None:
            raise ConfigError(name, f"a recipe is named already, {recipe}", fix="view one recipe at a time")
        else:
            recipe = name
    if files and not images:
        images = [images_beside(path) for path in files]
    return replace(sources, recipe=recipe, annotations=tuple(files), images=tuple(images))


def images_beside(annotations: Path) -> Path:
    """The folder of images of an annotation file: `images` beside it or one folder higher, else its folder."""
    places = (annotations.parent / "images", annotations.parent.parent / "images")
    return next((place for place in places if place.is_dir()), annotations.parent)
