"""Which images `det predict` is given: files, folders, patterns and addresses, and the names of their results."""

import glob
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from det_core.errors import ConfigError, DataError
from det_core.files import IMAGE_SUFFIXES

__all__ = ["Input", "find_images", "image_ids", "picture_names"]

_DIGITS = 18  # of a number that fits 64 bits


class Input(NamedTuple):
    """An image: its file or address, and its name, from the folder that was given and with slashes."""

    source: str
    name: str


def find_images(images: Sequence[str], output: Path | None) -> tuple[list[Input], str]:
    """The images, and a sentence about files in folders that are none, or "".

    Folders are searched with all folders in them, except `output` and hidden ones. A file that does not
    exist beside others that do is among the images, to be reported like any other bad one.

    Raises:
        DataError: a folder holds no image, a pattern matches nothing, or none of the files exists.
        ConfigError: an image lies in `output`, whose files are replaced.
    """
    inputs: list[Input] = []
    skipped: Counter[str] = Counter()
    for image in images:
        path = Path(image)
        if "://" in image:
            inputs.append(Input(image, PurePosixPath(unquote(urlsplit(image).path)).name or "image"))
        elif path.is_dir():
            inputs += _in_folder(path, output, skipped)
        elif not path.exists() and glob.has_magic(image):
            matching = sorted(glob.glob(image, recursive=True))  # noqa: PTH207 (Path.glob knows no absolute patterns)
            inputs += [Input(name, Path(name).name) for name in matching if Path(name).is_file()]
            if not matching:
                raise DataError(image, "no file is called like this")
        else:
            inputs.append(Input(image, path.name))
    for each in inputs:
        if "://" not in each.source and _is_in(Path(each.source), output):
            raise ConfigError("--output", f"is the folder of an image: {each.source}", fix="choose another folder")
    if inputs and not any("://" in each.source or Path(each.source).exists() for each in inputs):
        others = len(inputs) - 1
        found = f"nor {'is the other one' if others == 1 else f'are the {others} others'} there" if others else ""
        raise DataError(inputs[0].source, "there is no such image file", found, "check the path")
    ends = ", ".join(f"{number} {suffix or 'without ending'}" for suffix, number in skipped.most_common(5))
    what = "file that is no image" if skipped.total() == 1 else "files that are no images"
    return inputs, f"skipped {skipped.total()} {what}: {ends}" if skipped else ""


def _in_folder(folder: Path, output: Path | None, skipped: "Counter[str]") -> Iterator[Input]:
    count = 0
    output = None if output is not None and output.resolve() == folder.resolve() else output  # an error of its own
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts) or not path.is_file() or _is_in(path, output):
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES:
            count += 1
            yield Input(str(path), name.as_posix())
        else:
            skipped[path.suffix.lower()] += 1
    if not count:
        raise DataError(str(folder), "the folder holds no image", fix=f"files must end in {', '.join(IMAGE_SUFFIXES)}")


def _is_in(path: Path, folder: Path | None) -> bool:
    return folder is not None and folder.resolve() in path.resolve().parents


def picture_names(names: Sequence[str]) -> list[str]:
    """A file name for the picture of each image, unique regardless of case; other formats than JPEG become PNG."""
    names_in_use: set[str] = set()
    numbers: Counter[str] = Counter()
    pictures = []
    for name in map(PurePosixPath, names):
        suffix = name.suffix if name.suffix.lower() in (".jpg", ".jpeg", ".png") else ".png"
        stem = name.with_suffix("").as_posix()
        picture = f"{stem}{suffix}"
        while picture.lower() in names_in_use:
            numbers[stem.lower()] += 1
            picture = f"{stem}_{numbers[stem.lower()] + 1}{suffix}"
        names_in_use.add(picture.lower())
        pictures.append(picture)
    return pictures


def image_ids(names: Sequence[str]) -> list[int]:
    """The numbers that the files are called by; counted from 1 if one has none, or two have the same: 1.jpg, 01.jpg."""
    stems = [PurePosixPath(name).stem for name in names]
    if all(stem.isascii() and stem.isdigit() and len(stem) <= _DIGITS for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(names) + 1))
