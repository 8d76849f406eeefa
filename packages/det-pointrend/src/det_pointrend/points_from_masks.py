"""Makes a COCO file of points out of one with masks: `python -m det_pointrend.points_from_masks FROM TO`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from det_core.data.formats.coco import CocoDataset
from det_core.errors import DetError
from det_core.ops.rle import rle_counts, rle_to_mask
from pycocotools import mask as coco_mask

__all__ = ["main", "with_points"]

SEED = 12345
"""Of the published annotations: with it, ten points of COCO's training set are those of its version 1."""


def with_points(content: dict[str, Any], count: int = 10, versions: int = 1, seed: int = SEED) -> list[dict[str, Any]]:
    """COCO files with `count` points of each object, drawn evenly from its box, in place of its mask.

    Args:
        content: a COCO file with segmentations, sound as `det_core.data.CocoDataset` reads it.
        count: points of each object.
        versions: how many files, each with other points.
        seed: of the drawing.

    Returns:
        What each file holds; beside `segmentation`, which is gone, annotations keep all that they say, and have
        `point_coords`, whole pixels [[x, y], ...], and `point_labels`, 1 where the object is and 0 where it is not.
    """
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    # The generator of the published script, whose numbers stay the same for ever.
    random = np.random.RandomState(seed)
    found = []
    for _ in range(versions):
        annotations = [_judged(each, sizes[each["image_id"]], random, count) for each in content["annotations"]]
        found.append({**content, "annotations": annotations})
    return found


def _judged(record: dict[str, Any], size: tuple[int, int], random: np.random.RandomState, count: int) -> dict[str, Any]:
    x, y, width, height = record["bbox"]
    places = np.floor(random.rand(count, 2) * (width, height) + (x, y)).astype(int)
    places = places.clip(0, (size[1] - 1, size[0] - 1))  # a box may reach out of its image
    segmentation = record["segmentation"]
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    mask = rle_to_mask(rle_counts(segmentation, size), size).numpy()
    others = {key: value for key, value in record.items() if key != "segmentation"}
    labels = mask[places[:, 1], places[:, 0]].astype(int).tolist()
    return {**others, "point_coords": places.tolist(), "point_labels": labels}


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the file, write those with points; 2 and one line on the standard error where the file is bad."""
    parser = argparse.ArgumentParser(prog="python -m det_pointrend.points_from_masks", description=__doc__)
    parser.add_argument("source", metavar="FROM", type=Path, help="a COCO file with masks")
    parser.add_argument("target", metavar="TO", type=Path, help="the file to write; with several versions TO_v1 and on")
    parser.add_argument("--points", type=int, default=10, help="points of each object (10)")
    parser.add_argument("--versions", type=int, default=1, help="how many files with other points (1)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the drawing ({SEED})")
    given = parser.parse_args(arguments)
    if min(given.points, given.versions) < 1:
        parser.error("--points and --versions must be at least 1")
    try:
        listing = CocoDataset.listing(given.source.parent, given.source)
        listing.checked(masks="bitmaps")  # a fault is told before anything is drawn
    except DetError as error:
        parser.error(str(error))
    given.target.parent.mkdir(parents=True, exist_ok=True)
    files = with_points(dict(listing.content), given.points, given.versions, given.seed)
    for number, content in enumerate(files, 1):
        stem = f"{given.target.stem}_v{number}" if given.versions > 1 else given.target.stem
        file = given.target.with_name(f"{stem}{given.target.suffix or '.json'}")
        file.write_text(json.dumps(content), encoding="utf-8")
        print(f"{file}: {given.points} points of each of {len(content['annotations'])} objects")  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
