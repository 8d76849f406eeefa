"""Results matched to images by file name, since their `image_id` may count differently."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from det_core.errors import DataError

__all__ = ["placed_by_name"]

_MAX_LISTED = 5
_Record = Mapping[str, Any]


def placed_by_name(results: Sequence[Any], images: Sequence[_Record], where: str) -> tuple[list[Any], list[str]]:
    """The results, each with the `image_id` of the image that its `file_name` belongs to, and notes on what changed.

    `det predict` counts images from 1 where their names are no numbers, so an `image_id` may stand for another image of
    the annotations than the name does; the name decides. It is compared whole, then without its folders, then without
    its suffix. Results without a name, and all where the annotations give none, stay as they are.

    Args:
        results: entries of a file of results, unchecked.
        images: the entries of images, with sound ids.
        where: the file of results, for messages.

    Raises:
        DataError: a name is not among those of the annotations, or several images have it.
    """
    named = [image for image in images if isinstance(image.get("file_name"), str) and image["file_name"]]
    if not named:
        return list(results), []
    tables = [_table(named, key) for key in _KEYS]
    placed, faults, moved = [], [], 0
    for position, result in enumerate(results, 1):
        name = result.get("file_name") if isinstance(result, dict) else None
        if not isinstance(name, str) or not name:
            placed.append(result)
            continue
        ids = next((each for key, table in zip(_KEYS, tables, strict=True) if (each := table.get(key(name)))), [])
        result_id = result.get("image_id")
        if not ids:
            faults.append(f"result number {position} is of the file {name!r:.60}, which the annotations do not list")
        elif len(ids) > 1 and result_id not in ids:
            faults.append(f"result number {position} is of the file {name!r:.60}, of which there are {len(ids)}")
        image_id = result_id if result_id in ids or not ids else ids[0]
        moved += image_id != result_id
        placed.append({**result, "image_id": image_id})
    if faults:
        rest = [f"and {len(faults) - _MAX_LISTED} more"] if len(faults) > _MAX_LISTED else []
        problem = f"{len(faults)} of {len(results)} results are of no image of the annotations"
        fix = "give the annotations of the images that were predicted, or take file_name out of the results"
        raise DataError(where, problem, "; ".join(faults[:_MAX_LISTED] + rest), fix)
    note = f"{moved} of {len(results)} results have another image_id than their file_name: the name decides"
    return placed, [note] if moved else []


def _whole(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def _last(name: str) -> str:
    return _whole(name).rpartition("/")[2]


def _stem(name: str) -> str:
    return PurePosixPath(_last(name)).stem


_KEYS = (_whole, _last, _stem)


def _table(images: Sequence[_Record], key: Any) -> dict[str, list[Any]]:
    """The ids of the images of each name."""
    table: defaultdict[str, list[Any]] = defaultdict(list)
    for image in images:
        table[key(image["file_name"])].append(image["id"])
    return dict(table)
