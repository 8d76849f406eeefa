"""Rows of the results: one per image, with its detections as lists, or the reason why it has none."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from det_core.errors import DataError, DetError

if TYPE_CHECKING:
    from det_core.predict import Result

__all__ = ["DISTRIBUTIONS", "SCHEMA", "digest", "failed_row", "row_of", "summarize", "table_of", "versions_of"]

SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("sha256", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("error", pa.string()),
        pa.field("boxes", pa.list_(pa.list_(pa.float32()))),
        pa.field("labels", pa.list_(pa.int32())),
        pa.field("category_ids", pa.list_(pa.int64())),
        pa.field("scores", pa.list_(pa.float32())),
        pa.field("masks", pa.list_(pa.string())),
        pa.field("keypoints", pa.list_(pa.list_(pa.float32()))),
        pa.field("model", pa.dictionary(pa.int32(), pa.string())),
        pa.field("versions", pa.dictionary(pa.int32(), pa.string())),
    ]
)
"""Columns of a row.

`boxes` are x0, y0, x1, y1 in pixels of the stored image, or cx, cy, w, h, angle of rotated ones; `masks` the counts of
COCO's compressed RLE, whose size is (height, width); `keypoints` x, y, visibility of each point in a row. `sha256` is
of the file's content; `error` the reason why an image has no detections, else null. `model` is the hash of the model,
and `versions` those of the packages, as JSON.
"""

DISTRIBUTIONS = ("det-core", "det-ray", "torch", "torchvision", "pillow", "ray")
"""Whose versions are in each row."""

_REASON = 400  # characters of a reason in a row
_LISTED = 20  # bad images named in the footer of a block


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return sha256(content).hexdigest()


def versions_of(names: Sequence[str]) -> dict[str, str]:
    """The versions of installed distributions; those that are not installed are left out."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def row_of(path: str, content_hash: str | None, result: "Result") -> dict[str, Any]:
    """The row of an image that was predicted; `model` and `versions` are added by `table_of`."""
    from det_core.evaluation.coco_results import encode_masks

    detections = result.detections
    labels = detections.labels.tolist()
    height, width = detections.size
    row: dict[str, Any] = {
        "path": path,
        "sha256": content_hash,
        "width": width,
        "height": height,
        "boxes": detections.boxes.float().tolist(),
        "labels": labels,
        "category_ids": [result.category_ids[label] for label in labels],
        "scores": detections.scores.float().tolist(),
    }
    if detections.masks is not None:
        rles = encode_masks(detections.masks, detections.boxes, detections.size)
        row["masks"] = [rle["counts"] for rle in rles]
    if detections.keypoints is not None:
        row["keypoints"] = detections.keypoints.float().flatten(1).tolist()
    return row


def failed_row(path: str, content_hash: str | None, error: DetError | str) -> dict[str, Any]:
    """The row of an image without a result, with the reason in one line, which does not repeat the path."""
    if isinstance(error, DetError):
        error = "; ".join(part for part in (error.problem, error.found) if part)
    return {"path": path, "sha256": content_hash, "error": " ".join(error.split())[:_REASON]}


def table_of(rows: Sequence[Mapping[str, Any]], model: str, versions: Mapping[str, str]) -> pa.Table:
    """The rows as a table of `SCHEMA`."""
    common = {"model": model, "versions": json.dumps(versions)}
    columns = {field.name: [common.get(field.name, row.get(field.name)) for row in rows] for field in SCHEMA}
    try:
        return pa.table(columns, schema=SCHEMA)
    except pa.ArrowException as error:
        raise DataError("results", "cannot be written as a table", str(error)) from error


def summarize(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """Counts of images, objects by class, and the first bad images with their reasons."""
    bad = [row for row in rows if row.get("error") is not None]
    objects = Counter(classes[label] for row in rows for label in row.get("labels") or ())
    reasons = Counter(row["error"].partition(";")[0] for row in bad)
    return {
        "images": len(rows),
        "bad": len(bad),
        "objects": dict(objects),
        "empty": sum(row.get("error") is None and not row["labels"] for row in rows),
        "reasons": dict(reasons.most_common(_LISTED)),
        "bad_images": [[row["path"], row["error"]] for row in bad[:_LISTED]],
    }
