"""Marks of bad annotations, corrected copies of annotation files, and folders of picked pictures."""

import hashlib
import json
import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from det_core.errors import ConfigError, DataError
from det_core.files import jsonfile

from det_inspect.view.picture_set import PictureSet

__all__ = ["Corrections"]

_NAME = re.compile(r"[^\W_][\w.@+ -]{0,99}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


class Corrections:
    """Marks of a set; they are stored, and nothing that exists is overwritten.

    Args:
        pictures: pictures whose annotations are corrected.
        output: folder of corrected copies and exported pictures; made when the first is written.
        store: folder where marks are stored.
    """

    def __init__(self, pictures: PictureSet, output: Path, store: Path) -> None:
        self._set, self.output = pictures, output
        names = "|".join(str(each.annotations.resolve()) for each in pictures.listings.values())
        self._file = store / f"{hashlib.sha256(names.encode('utf-8', 'surrogateescape')).hexdigest()}.json"
        self._lock = threading.Lock()
        self.rows: set[int] = self._stored()

    def mark(self, row: int, bad: bool) -> None:
        """Mark an object as bad, or take the mark away; DataError if the marks cannot be stored."""
        with self._lock:
            (self.rows.add if bad else self.rows.discard)(row)
            entries = [self._key(each) for each in sorted(self.rows)]
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                part = self._file.with_suffix(".part")
                part.write_text(json.dumps(entries), encoding="utf-8")
                part.replace(self._file)
            except OSError as error:
                raise DataError(str(self._file), "the marks cannot be stored", str(error), "free some space") from error

    def summary(self) -> dict[str, Any]:
        """Number of marks and name of the corrected file of each split, marked pictures, and the output folder."""
        counts = Counter(self._split(row) for row in self.rows)
        names = {split: f"{Path(self._set.listings[split].annotations).stem}_corrected.json" for split in counts}
        splits = {split: {"marks": count, "name": names[split]} for split, count in sorted(counts.items())}
        return {"splits": splits, "pictures": len(self.pictures()), "output": str(self.output.resolve())}

    def pictures(self) -> set[int]:
        """Pictures with marked objects."""
        return {int(self._set.picture[row]) for row in self.rows}

    def write(self, split: str, name: str) -> dict[str, Any]:
        """Write the annotations of a split without the marked ones.

        Returns:
            {"path", "removed", "annotations"}: the new file, and how many annotations were removed and are left.

        Raises:
            ConfigError: there is no such split or no mark in it, the name is no plain name of a JSON file, or exists.
            DataError: the annotation file has changed, or the copy cannot be written.
        """
        if split not in self._set.listings:
            raise ConfigError("split", f"there is no split {split!r}", fix=", ".join(self._set.listings))
        removed = self._removed(split)
        if not removed:
            raise ConfigError("split", f"no annotation of {split} is marked")
        path = self._new(name, ".json")
        source = self._set.listings[split].annotations
        if path.exists() or (source.exists() and path.resolve() == source.resolve()):
            raise ConfigError("name", f"{path} exists, and is not overwritten", fix="give another name")
        content = self._content(split)
        annotations = [each for place, each in enumerate(content["annotations"]) if place not in removed]
        _write(path, {**content, "annotations": annotations})
        return {"path": str(path), "removed": len(removed), "annotations": len(annotations)}

    def export(self, indices: Iterable[int], name: str) -> dict[str, Any]:
        """Copy pictures into a new folder, with a COCO file of each split without the marked annotations.

        Returns:
            {"path", "pictures", "problems"}: the folder, the number of copied files, and why others are not there.

        Raises:
            ConfigError: no picture is given, or the name is no plain name, or exists.
            DataError: the folder cannot be written.
        """
        indices = sorted({each for each in indices if 0 <= each < len(self._set.pictures)})
        if not indices:
            raise ConfigError("pictures", "no picture is picked", fix="pick pictures with x")
        folder = self._new(name, "")
        if folder.exists():
            raise ConfigError("name", f"{folder} exists, and is not overwritten", fix="give another name")
        problems: list[str] = []
        try:
            for index in indices:
                picture = self._set.pictures[index]
                target = folder / "images" / picture.split / picture.name.replace("\\", "/")
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    shutil.copyfile(picture.path, target)
                except FileNotFoundError:
                    problems.append(f"{picture.name}: the file is missing")
        except OSError as error:
            raise DataError(str(folder), "cannot be written", str(error), "free some space") from error
        for split in dict.fromkeys(self._set.pictures[index].split for index in indices):
            _write(folder / f"{split}.json", self._part(split, indices))
        return {"path": str(folder), "pictures": len(indices) - len(problems), "problems": problems[:20]}

    def _part(self, split: str, indices: Sequence[int]) -> dict[str, Any]:
        """Entries of the picked pictures of a split."""
        content, removed = self._set.listings[split].content, self._removed(split)
        ids = {self._set.pictures[index].id for index in indices if self._set.pictures[index].split == split}
        images = [each for each in content["images"] if isinstance(each, dict) and _id(each, "id") in ids]
        annotations = [
            each
            for place, each in enumerate(content.get("annotations", []))
            if place not in removed and isinstance(each, dict) and _id(each, "image_id") in ids
        ]
        return {**content, "images": images, "annotations": annotations}

    def _content(self, split: str) -> dict[str, Any]:
        """The annotations as the file has them, or as the reader lists them where the format is not COCO's."""
        listing = self._set.listings[split]
        if listing.annotations.suffix.lower() != ".json" or not listing.own_ids:
            return {**listing.content}
        content: dict[str, Any] = jsonfile.read(listing.annotations)
        before = [_id(each, "id") for each in listing.content.get("annotations", [])]
        entries = content.get("annotations") if isinstance(content, dict) else None
        if not isinstance(entries, list) or [str(_id(each, "id")) for each in entries] != [*map(str, before)]:
            fix = "start det view again, and mark the annotations of the new file"
            raise DataError(str(listing.annotations), "has changed since det view was started", fix=fix)
        return content

    def _removed(self, split: str) -> set[int]:
        return {int(self._set.places[row]) for row in self.rows if self._split(row) == split}

    def _split(self, row: int) -> str:
        return self._set.pictures[int(self._set.picture[row])].split

    def _key(self, row: int) -> list[Any]:
        return [self._split(row), int(self._set.places[row]), _id(self._set.records[row], "id")]

    def _stored(self) -> set[int]:
        """Stored marks whose annotations are still there."""
        try:
            entries = json.loads(self._file.read_text("utf-8"))
            marks = {(split, place, number) for split, place, number in entries}
        except (OSError, ValueError, TypeError):
            return set()
        return {row for row in range(len(self._set.records)) if tuple(self._key(row)) in marks} if marks else set()

    def _new(self, name: str, suffix: str) -> Path:
        """A path in the output folder."""
        if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name) or not name.endswith(suffix) or name != name.strip():
            kind = "a name of a JSON file" if suffix else "a name of a folder"
            raise ConfigError("name", f"must be {kind} without folders", repr(name[:100]), "use letters and digits")
        return self.output / name


def _id(record: Mapping[str, Any], key: str) -> Any:
    """An id, None if it cannot be one."""
    value = record.get(key) if isinstance(record, Mapping) else None
    return value if isinstance(value, int | str) else None


def _write(path: Path, content: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:  # never over another file
            json.dump(content, file)
    except OSError as error:
        raise DataError(str(path), "cannot be written", error.strerror or str(error), "give another name") from error
