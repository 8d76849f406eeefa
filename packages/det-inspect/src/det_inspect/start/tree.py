"""The files of a folder, listed once, and pictures found in it by the names that annotations give them."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from det_core.errors import DataError
from det_core.files import IMAGE_SUFFIXES

__all__ = ["Tree", "split_of"]

_HERE = PurePosixPath()
_MOST_FILES = 2_000_000
_SPLIT = re.compile(r"(?<![a-z])(train|val|valid|dev|test)(?:ing|idation)?(?![a-z])")
_SPLITS = {"valid": "val", "dev": "val"}


def split_of(path: PurePosixPath) -> str:
    """The split that the name of a file or of its folders contains: "train", "val", "test", or "" for none."""
    for part in (path.stem, *reversed(path.parts[:-1])):
        if names := {_SPLITS.get(name, name) for name in _SPLIT.findall(part.lower())}:
            return names.pop() if len(names) == 1 else ""
    return ""


class Tree:
    """A folder with everything below it, except hidden folders.

    Args:
        place: path that the user gave.

    Attributes:
        place: what was given.
        root: folder of the tree; the parent of a file.
        chosen: the file of annotations, where one was given.

    Raises:
        DataError: it does not exist, contains no picture, or is one.
    """

    def __init__(self, place: Path) -> None:
        if not place.exists():
            raise DataError(str(place), "there is no such file or folder", fix="check the path")
        if place.suffix.lower() in IMAGE_SUFFIXES and place.is_file():
            fix = "give the folder of the pictures and their annotations, or a file of annotations"
            raise DataError(str(place), "is a picture", fix=fix)
        self.place = place
        self.chosen = None if place.is_dir() else place
        self.root = place if place.is_dir() else place.parent
        self.files = self._listed()
        if not self.pictures and self.chosen is None:
            fix = f"pictures end in {', '.join(IMAGE_SUFFIXES)}"
            detail = f"it has {len(self.files)} other files" if self.files else "it is empty"
            raise DataError(str(place), "contains no picture", detail, fix)

    def _listed(self) -> list[PurePosixPath]:
        files: list[PurePosixPath] = []
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
            below = PurePosixPath(Path(folder).relative_to(self.root).as_posix())
            files += [below / name for name in sorted(names) if not name.startswith(".")]
            if len(files) > _MOST_FILES:
                raise DataError(str(self.root), f"has more than {_MOST_FILES} files", fix="name the folder of the data")
        return files

    def ending(self, *suffixes: str) -> list[PurePosixPath]:
        """Files that could be annotations, by suffix; only the chosen one where there is one."""
        files: Iterable[PurePosixPath] = self.files if self.chosen is None else [PurePosixPath(self.chosen.name)]
        return [file for file in files if file.suffix.lower() in suffixes]

    @cached_property
    def pictures(self) -> list[PurePosixPath]:
        """All pictures, as paths from the root."""
        return [file for file in self.files if file.suffix.lower() in IMAGE_SUFFIXES]

    @cached_property
    def _by_name(self) -> dict[str, list[PurePosixPath]]:
        index: dict[str, list[PurePosixPath]] = defaultdict(list)
        for file in self.pictures:
            index[file.name.lower()].append(file)
            index[file.stem.lower()].append(file)
        return index

    def find(self, name: str, near: PurePosixPath = _HERE) -> PurePosixPath | None:
        """The picture that annotations in `near` call `name`: a path of any system, a URL, or a name without suffix.

        Of several with that name, the one whose path ends most alike, then the one that is closest to `near`.
        """
        parts = PurePosixPath(unquote(name).replace("\\", "/")).parts
        if not parts:
            return None
        candidates = self._by_name.get(parts[-1].lower(), [])

        def likeness(file: PurePosixPath) -> tuple[int, int, int]:
            same = _common(tuple(reversed(file.parts)), tuple(reversed(parts)))
            return same, _common(file.parts, near.parts), -len(file.parts)

        return max(candidates, key=likeness, default=None)

    def folder_of(self, names: Sequence[str], near: PurePosixPath) -> Path | None:
        """The folder that most of `names` start from; None where none of them is there."""
        counts: Counter[PurePosixPath] = Counter()
        for name in names:
            parts = PurePosixPath(name.replace("\\", "/")).parts
            picture = self.find(name, near)
            if picture is not None and picture.parts[-len(parts) :] == parts:
                counts[PurePosixPath(*picture.parts[: -len(parts)])] += 1
        return self.root / counts.most_common(1)[0][0] if counts else None


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """How many parts two paths share from their beginning."""
    return next(
        (n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
