"""What the commands share."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from det_core.errors import DataError, DetError

if TYPE_CHECKING:
    import numpy as np
    from det_core.predict.result import Result
    from numpy.typing import NDArray

__all__ = ["PATH", "Command", "found_pictures", "read_atlas", "results_of"]

PATH = click.Path(path_type=Path)
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class Command(click.Command):
    """A command whose errors are one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; a `DetError` becomes a message and exit code 1."""
        try:
            return super().invoke(ctx)
        except DetError as error:
            raise click.ClickException(str(error)) from error


def found_pictures(places: Sequence[Path]) -> list[Path]:
    """The picture files named, and those in the folders named.

    Raises:
        DataError: a place is not there, or a folder holds no picture.
    """
    files: list[Path] = []
    for place in places:
        if place.is_dir():
            inside = sorted(path for path in place.iterdir() if path.suffix.lower() in _SUFFIXES)
            if not inside:
                raise DataError(str(place), "holds no picture", fix=f"give files that end in {', '.join(_SUFFIXES)}")
            files += inside
        elif place.is_file():
            files.append(place)
        else:
            raise DataError(str(place), "there is no such picture or folder", fix="check the path")
    return files


def results_of(model: str, pictures: Sequence[Path]) -> "Iterator[Result]":
    """The results of a model for each picture."""
    from det_core.predict.detector import Detector

    yield from Detector.load(model).stream(pictures)


def read_atlas(path: Path) -> "NDArray[np.uint8]":
    """The tiles (24, T, T, 3 or 4) of an atlas in a picture file.

    Raises:
        DataError: the file cannot be read, or has another layout.
    """
    import numpy as np
    from PIL import Image

    from det_densepose.render.textures import split_atlas

    try:
        with Image.open(path) as picture:
            array = np.asarray(picture.convert("RGBA" if "A" in picture.getbands() else "RGB"))
    except OSError as error:
        raise DataError(str(path), "cannot be read as a picture", str(error), "check the path") from error
    return split_atlas(array, str(path))
