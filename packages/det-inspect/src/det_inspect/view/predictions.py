"""Predictions for the pictures of a set, from a file of COCO results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from det_core.data.formats.coco_boxes import are_numbers
from det_core.errors import DataError
from det_core.files import jsonfile
from det_core.ops.annotations import normalized
from det_core.printable import quoted

from det_inspect.results.results_by_name import placed_by_name
from det_inspect.view.picture_set import PictureSet

__all__ = ["Detection", "Predictions", "is_result_file", "read_predictions"]

_NOTES = 5
_SPLITS = ("val", "test")


@dataclass(frozen=True)
class Detection:
    """One detection: its label in the set, its score, and its entry in COCO's results format."""

    label: int
    score: float
    record: Mapping[str, Any]


@dataclass
class Predictions:
    """Predictions of one model.

    Attributes:
        name: name of the file or run.
        by_picture: detections of each predicted picture, best first.
        notes: remarks for the user, a sentence each.
        version: number of changes of `by_picture`.
        state: "done", or how far the model is.
    """

    name: str
    by_picture: dict[int, Sequence[Detection]]
    notes: list[str] = field(default_factory=list)
    version: int = 0
    state: str = "done"

    @property
    def drawable(self) -> bool:
        """Whether a model is there, whose predictions the writers of `det predict` draw."""
        return False

    def put(self, picture: int, detections: Sequence[Detection]) -> None:
        """Add the detections of one picture."""
        self.by_picture[picture] = sorted(detections, key=lambda each: -each.score)
        self.version += 1

    def want(self, pictures: Sequence[int]) -> None:
        """The pictures that are needed next; those of a file are there."""

    def close(self) -> None:
        """End the work."""


def is_result_file(path: Path) -> bool:
    """Whether a JSON file begins with a list, as files of results do."""
    try:
        with path.open("rb") as file:
            return file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    except OSError:
        return False


def read_predictions(path: Path, pictures: PictureSet) -> Predictions:
    """The results of a file. Entries that cannot be used are left out, and a note counts them.

    Raises:
        DataError: the file cannot be read, is no list, or has not a single result for a picture of the set.
    """
    content = jsonfile.read(path, "file of results")
    if not isinstance(content, list):
        fix = "give a list of objects with image_id, category_id, score and bbox or segmentation"
        raise DataError(str(path), "is no file of COCO results", f"it holds a {type(content).__name__}", fix)
    results = normalized({"annotations": content})["annotations"]  # as annotations they get boxes from masks
    split = _split_of(results, pictures)
    listed = [each for each in pictures.pictures if each.split == split]
    placed, notes = placed_by_name(results, [{"id": each.id, "file_name": each.name} for each in listed], str(path))
    index_of = {each.id: index for index, each in enumerate(pictures.pictures) if each.split == split}
    label_of = labels_by_id(pictures, split)
    by_picture: dict[int, list[Detection]] = {index: [] for index in index_of.values()}
    faults: list[str] = []
    for position, result in enumerate(placed, 1):
        if fault := fault_of(result, index_of, label_of):
            faults.append(f"result number {position} {fault}")
            continue
        label = label_of[result["category_id"]]
        by_picture[index_of[result["image_id"]]].append(Detection(label, float(result["score"]), result))
    if placed and len(faults) == len(placed):
        raise DataError(str(path), "none of the results can be used", "; ".join(faults[:_NOTES]))
    if faults:
        notes.append(f"{len(faults)} of {len(placed)} results cannot be used: {'; '.join(faults[:_NOTES])}")
    predictions = Predictions(path.name, {}, [*notes, f"results of the split {split}"])
    for index, detections in by_picture.items():
        predictions.put(index, detections)
    return predictions


def labels_by_id(pictures: PictureSet, split: str) -> dict[int, int]:
    """Label of each category id of a split."""
    label_of = {name: label for label, name in enumerate(pictures.classes)}
    categories = pictures.listings[split].content["categories"]
    named = (each for each in categories if isinstance(each, dict) and isinstance(each.get("name"), str))
    return {each["id"]: label_of[each["name"]] for each in named if each["name"] in label_of and "id" in each}


def fault_of(result: Any, index_of: Mapping[Any, int], label_of: Mapping[int, int]) -> str:
    """What is wrong with a result, "" if it can be used."""
    if not isinstance(result, dict):
        return "is not an object"
    image, category, score = (result.get(key) for key in ("image_id", "category_id", "score"))
    if not isinstance(image, int | str) or image not in index_of:
        return f"is of image {quoted(image, 60)}, which is not listed"
    if type(category) is not int or category not in label_of:
        return f"is of category {quoted(category, 60)}, which is not listed"
    if not are_numbers([score]):
        return f"has the score {quoted(score, 60)}, which is not a finite number"
    box = result.get("bbox")
    if not isinstance(box, list) or not are_numbers(box) or len(box) not in (4, 5):
        return f"has the bbox {quoted(box, 60)}, which is not four or five finite numbers"
    return ""


def _split_of(results: Sequence[Any], pictures: PictureSet) -> str:
    """The split that most results are of; of equal ones val, then test, then the first."""
    names = {str(each.get("file_name")) for each in results if isinstance(each, dict) and "file_name" in each}
    ids = {each.get("image_id") for each in results if isinstance(each, dict) and _is_id(each.get("image_id"))}
    counts = dict.fromkeys(pictures.listings, 0)
    for picture in pictures.pictures:
        counts[picture.split] += (picture.name in names) if names else (picture.id in ids)
    order = sorted(counts, key=lambda split: _SPLITS.index(split) if split in _SPLITS else len(_SPLITS))
    return max(order, key=counts.__getitem__)


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)
