"""Data sets, predictions and runs that the arguments of `det view` name."""

from dataclasses import replace
from pathlib import Path

from det_core.errors import ConfigError

from det_inspect.cli.data_sources import Sources
from det_inspect.view.predictions import is_result_file

__all__ = ["images_beside", "sources_with"]


def sources_with(names: tuple[str, ...], sources: Sources) -> tuple[Sources, list[Path], list[Path]]:
    """The sources of options and arguments, files of results, and runs or checkpoints.

    Without other data the sources are data.val of the first run.

    Raises:
        ConfigError: an argument is a file that is not there, a folder without a run, or a second recipe.
    """
    recipe, files, images = sources.recipe, list(sources.annotations), list(sources.images)
    results: list[Path] = []
    models: list[Path] = []
    for name in names:
        path = Path(name)
        if path.suffix.lower() == ".json":
            if not path.is_file():
                raise ConfigError(name, "there is no such file", fix="name a file of annotations or of results")
            (results if is_result_file(path) else files).append(path)
        elif path.is_dir() or path.suffix == ".safetensors":
            models.append(_checked(path))
        elif recipe is not None:
            raise ConfigError(name, f"a recipe is named already, {recipe}", fix="view one recipe at a time")
        else:
            recipe = name
    if files and not images:
        images = [images_beside(path) for path in files]
    if recipe is None and not (files or images or sources.folder):
        return _of_run(sources, models), results, models
    return replace(sources, recipe=recipe, annotations=tuple(files), images=tuple(images)), results, models


def images_beside(annotations: Path) -> Path:
    """The folder of images of an annotation file: `images` beside it or one folder higher, else its folder."""
    places = (annotations.parent / "images", annotations.parent.parent / "images")
    return next((place for place in places if place.is_dir()), annotations.parent)


def _checked(path: Path) -> Path:
    from det_core.engine import RunFolder

    if path.is_dir() and not RunFolder(path).recipe.is_file():
        fix = "name the folder of a run, or a folder of images with --images"
        raise ConfigError(str(path), "is a folder without a run", f"it has no {RunFolder(path).recipe.name}", fix)
    if not path.exists():
        raise ConfigError(str(path), "there is no such file", fix="name a checkpoint or the folder of a run")
    return path


def _of_run(sources: Sources, models: list[Path]) -> Sources:
    from det_core.engine import RunFolder

    run = next((path for path in models if path.is_dir()), None)
    if run is None:
        return sources
    return replace(sources, recipe=str(RunFolder(run).recipe), splits=sources.splits or ("val",))
