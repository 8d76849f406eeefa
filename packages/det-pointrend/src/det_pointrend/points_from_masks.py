"""Converts masks to points: `python -m det_pointrend.points_from_masks FROM TO` writes a COCO file with points."""

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
"""Seed of the published annotations: it gives ten points of COCO's training set in its version 1."""


def with_points(content: dict[str, Any], count: int = 10, versions: int = 1, seed: int = SEED) -> list[dict[str, Any]]:
    """COCO files with `count` uniform points in the box of each object in place of its mask.

    Args:
        content: valid COCO file with segmentations.
        count: number of points per object.
        versions: number of files, each with other points.
        seed: seed of the random points.

    Returns:
        The content of each file; annotations keep all fields except `segmentation`, and get `point_coords`, integer
        pixels [[x, y], ...], and `point_labels`, 1 on the object and 0 elsewhere.
    """
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    # The generator of the published script, whose sequence never changes.
    random = np.random.RandomState(seed)
    files = []
    for _ in range(versions):
        annotations = [_labelled(each, sizes[each["image_id"]], random, count) for each in content["annotations"]]
        files.append({**content, "annotations": annotations})
    return files


def _labelled(
    record: dict[str, Any], size: tuple[int, int], random: np.random.RandomState, count: int
) -> dict[str, Any]:
    x, y, width, height = record["bbox"]
    places = np.floor(random.rand(count, 2) * (width, height) + (x, y)).astype(int)
    places = places.clip(0, (size[1] - 1, size[0] - 1))  # boxes may extend beyond the image
    segmentation = record["segmentation"]
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    mask = rle_to_mask(rle_counts(segmentation, size), size).numpy()
    others = {key: value for key, value in record.items() if key != "segmentation"}
    labels = mask[places[:, 1], places[:, 0]].astype(int).tolist()
    return {**others, "point_coords": places.tolist(), "point_labels": labels}


def main(arguments: Sequence[str] | None = None) -> int:
    """Read a file and write those with points; exit with status 2 and one line on standard error if it is invalid."""
    parser = argparse.ArgumentParser(prog="python -m det_pointrend.points_from_masks", description=__doc__)
    parser.add_argument("source", metavar="FROM", type=Path, help="a COCO file with masks")
    parser.add_argument("target", metavar="TO", type=Path, help="output file; with several versions TO_v1 ...")
    parser.add_argument("--points", type=int, default=10, help="points per object (10)")
    parser.add_argument("--versions", type=int, default=1, help="number of files, each with other points (1)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"random seed ({SEED})")
    options = parser.parse_args(arguments)
    if min(options.points, options.versions) < 1:
        parser.error("--points and --versions must be at least 1")
    try:
        listing = CocoDataset.listing(options.source.parent, options.source)
        listing.checked(masks="bitmaps")  # reports errors before any output
    except DetError as error:
        parser.error(str(error))
    options.target.parent.mkdir(parents=True, exist_ok=True)
    files = with_points(dict(listing.content), options.points, options.versions, options.seed)
    for number, content in enumerate(files, 1):
        stem = f"{options.target.stem}_v{number}" if options.versions > 1 else options.target.stem
        file = options.target.with_name(f"{stem}{options.target.suffix or '.json'}")
        file.write_text(json.dumps(content), encoding="utf-8")
        print(f"{file}: {options.points} points of each of {len(content['annotations'])} objects")  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
