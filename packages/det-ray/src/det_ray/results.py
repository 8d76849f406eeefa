"""The results of `det ray predict` again: rows, or entries in the COCO results format."""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from det_core.errors import DataError

__all__ = ["coco_results", "read_rows"]


def read_rows(folder: str | PathLike[str], columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of all complete blocks in order, one block in memory at a time.

    Args:
        folder: the --output of a run; or a file of `det predict --save parquet`.
        columns: names of columns, as `det_ray.rows.SCHEMA` lists them; None for all.

    Raises:
        DataError: there are none.
    """
    path = Path(folder)
    files = [path] if path.is_file() else sorted(Path(path, "blocks").glob("*.parquet"))
    if not files:
        raise DataError(str(folder), "holds no results of det ray predict", fix="give the --output of a run")
    for file in files:
        yield from pq.read_table(file, columns=columns).to_pylist()


def coco_results(row: Mapping[str, Any], image_id: int | str) -> list[dict[str, Any]]:
    """The detections of a row in the COCO results format; none of a bad image."""
    entries = []
    for index, box in enumerate(row["boxes"] or ()):
        bbox = [*box[:2], box[2] - box[0], box[3] - box[1]] if len(box) == 4 else list(box)
        entry = {"image_id": image_id, "category_id": row["category_ids"][index], "bbox": bbox}
        entry["score"] = row["scores"][index]
        if row["masks"] is not None:
            entry["segmentation"] = {"size": [row["height"], row["width"]], "counts": row["masks"][index]}
        if row["keypoints"] is not None:
            points = row["keypoints"][index]
            entry["keypoints"] = [value - 0.5 if place % 3 < 2 else value for place, value in enumerate(points)]
        entries.append(entry)
    return entries
