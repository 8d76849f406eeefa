"""Real sets of images through all that a recipe's `data` does: reader, check, loader, evaluators, conversion.

Each set is read by a recipe, checked as `det data check` does, loaded as for an evaluation (one process), and judged:
its own truth, given as predictions, must score 1. Sets whose reader lists its files go to VOC or YOLO and back, and the
boxes are compared. What DIR does not hold is left out.

Run it: python benchmarks/real_data.py DIR [--images 24]; DIR holds blood-cells, nuclei, coco, coco-panoptic and lvis.
"""

import argparse
import json
import os
import platform
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from det_core import recipes
from det_core.data import CocoDataset
from det_core.structures import Prediction, Sample, SemanticMap
from det_datasets.readers import VocDataset, YoloDataset
from det_devkit.conformance.evaluators import perfect
from det_inspect.cli.data_sources import Sources
from det_inspect.datasets.check import check
from det_inspect.datasets.convert import convert
from torch.nn.functional import one_hot

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "real_data.json"
BATCH = 4


class Set(NamedTuple):
    """A set: the recipe that reads it, what it changes of that, and the split to load and judge."""

    folder: str
    recipe: str
    split: str
    changes: tuple[str, ...] = ()


def of(folder: str, split: str, annotations: str, images: str = "images", **more: str) -> tuple[str, ...]:
    """The overrides that lead a split to its files."""
    place = images if images.startswith(LINKS) else f"{folder}/{images}"
    places = {"images": place, "annotations": f"{folder}/{annotations}", **more}
    return tuple(f"data.{split}.{name}={value}" for name, value in places.items())


def panoptic(split: str) -> tuple[str, ...]:
    """The same for COCO panoptic, whose images are linked into one folder first."""
    name = f"annotations/panoptic_{split}2017"
    images = f"{LINKS}/{split}2017"
    return of("coco-panoptic", split, f"{name}.json", images, labels=f"coco-panoptic/{name}", semantic="classes")


LINKS = "linked"
CELLS, NUCLEI = "examples/blood-cells/recipe.yaml", "examples/nuclei/mask_rcnn.yaml"
VOC = ("type=voc", "folder=blood-cells/voc", "images=blood-cells/images", "classes=[WBC, RBC, Platelets]")
SETS = {
    "blood cells": Set(
        "blood-cells",
        CELLS,
        "test",
        sum((of("blood-cells", s, f"instances_{s}.json") for s in ("train", "val", "test")), ()),
    ),
    "blood cells, VOC": Set(
        "blood-cells",
        CELLS,
        "test",
        tuple(
            f"data.{s}={{{', '.join(part.replace('=', ': ') for part in (*VOC, f'split={s}'))}}}"
            for s in ("train", "val", "test")
        ),
    ),
    # Some images hold more nuclei than the hundred that COCO's rules count.
    "nuclei": Set(
        "nuclei",
        NUCLEI,
        "val",
        (
            *sum((of("nuclei", s, f"instances_{s}.json") for s in ("train", "val")), ()),
            "data.evaluators=[{type: coco, iou_types: [bbox, segm], max_detections: 500}]",
        ),
    ),
    "COCO, masks": Set("coco", "mask_rcnn_r50_fpn_1x", "val"),
    "COCO, people": Set("coco", "keypoint_rcnn_r50_fpn_1x", "val"),
    "COCO, panoptic": Set(
        "coco-panoptic",
        "examples/panoptic/panoptic_fpn.yaml",
        "val",
        (
            *sum((panoptic(split) for split in ("train", "val")), ()),
            "data.evaluators=[{type: panoptic_quality}, {type: mean_iou}]",
        ),
    ),
    "LVIS v0.5": Set("lvis", "lvis_v05_mask_rcnn_r50_fpn_1x", "val", of("lvis", "val", "lvis_v0.5_val_62.json", ".")),
}


def link(folder: Path, data: Path) -> None:
    """Links to all sets, and one folder of each split's images of COCO panoptic, some of which lie in `coco` alone."""
    for place in data.iterdir():
        (folder / place.name).symlink_to(place)
    for split in ("train2017", "val2017"):
        (folder / LINKS / split).mkdir(parents=True)
        images = {image.name: image for home in ("coco", "coco-panoptic") for image in (data / home / split).glob("*")}
        for name, image in images.items():
            (folder / LINKS / split / name).symlink_to(image)


def splits(one: Set) -> tuple[str, ...]:
    """Which splits of the recipe DIR holds."""
    told = {change.split(".")[1].partition("=")[0] for change in one.changes} & {"train", "val", "test"}
    return tuple(sorted(told or {"train", "val"}))


def measure(one: Set, held: tuple[str, ...], images: int) -> dict[str, Any]:
    """All figures of a set."""
    recipe = str(ROOT / one.recipe) if one.recipe.endswith(".yaml") else one.recipe
    found = Sources(recipe, one.changes, held, "coco", (), (), None, (), None)
    start = time.perf_counter()
    report = check(found.readers())
    seconds = time.perf_counter() - start
    summaries = {split: each.summary() for split, each in report.splits.items()}
    data = recipes.load(recipe, (*one.changes, "data.workers=0")).build("data")
    figures: dict[str, Any] = {
        "recipe": one.recipe,
        "images": sum(each["images"] for each in summaries.values()),
        "objects": sum(each["objects"] for each in summaries.values()),
        "crowds": sum(each["crowds"] for each in summaries.values()),
        "defects": dict(Counter(defect.kind for defect in report.defects)),
        "images/s of the check": round(sum(each["images"] for each in summaries.values()) / seconds, 1),
    }
    figures |= loaded(data, one.split, images)
    figures["back from"] = round_trips(found, one.split)
    return figures


def loaded(data: Any, split: str, images: int) -> dict[str, Any]:
    """Images a second as for an evaluation, and what the evaluators say of the truth."""
    judges = data.build_evaluators(split)
    start = time.perf_counter()
    samples = []
    for batch in islice(data.eval_loader(split, BATCH), max(1, images // BATCH)):
        samples += batch.samples
    rate = len(samples) / (time.perf_counter() - start)
    for judge in judges:
        for sample in samples:
            judge.update(truth_of(sample, len(data.dataset(split).classes)), sample)
    figures = {name: value for judge in judges for name, value in judge.result().items()}
    told = {
        name: round(value, 4)
        for name, value in figures.items()
        if name.count("/") == 1 and name.endswith(("AP", "PQ", "mIoU"))
    }
    return {"images/s of the loader": round(rate, 1), "its own truth scores": told}


def truth_of(sample: Sample, classes: int) -> Prediction:
    """The truth of a sample, as a prediction of that many classes of pixels."""
    truth = perfect(sample)
    if truth.detections is not None and (points := truth.detections.keypoints) is not None and len(points):
        # Who has no labelled keypoint is found where the box is, and then forgiven.
        middle = (truth.detections.boxes[:, :2] + truth.detections.boxes[:, 2:])[:, None] / 2
        placed = torch.where(points[..., :2].flatten(1).any(1)[:, None, None], points[..., :2], middle)
        keypoints = torch.cat((placed, points[..., 2:]), -1)
        truth = replace(truth, detections=replace(truth.detections, keypoints=keypoints))
    if sample.targets is None or sample.targets.semantic is None:
        return truth
    pixels = one_hot(sample.targets.semantic % 255, classes).permute(2, 0, 1).float()
    return replace(truth, semantic=SemanticMap(logits=pixels))


def round_trips(found: Sources, split: str) -> dict[str, str]:
    """For each format: how many boxes come back, of how many that are written."""
    source = found.readers()[split]
    if not callable(getattr(source, "func", None)):
        return {}
    listing = source()
    names = [each["name"] for each in sorted(listing.content["categories"], key=lambda each: each["id"])]
    told = {}
    for form in ("voc", "yolo"):
        with TemporaryDirectory() as folder:
            place = Path(folder)
            done = convert(listing, form, place / form, split, "link", "skip")
            if form == "voc":
                back = VocDataset.listing(place / form, split, names)
            else:
                back = YoloDataset.listing(place / form / "images" / split, names)
            convert(back, "coco", place / "coco", split, "leave", "skip")
            again = CocoDataset.listing(back.images, place / "coco" / f"instances_{split}.json")
            told[form] = f"{kept(boxes(listing.content), boxes(again.content))} of {done.objects}"
    return told


def boxes(content: Any) -> dict[tuple[str, str], list[Any]]:
    """The boxes by the name of their image, without the folder that VOC makes a part of it, and their class."""
    images = {each["id"]: Path(each["file_name"]).stem.rpartition("_")[2] for each in content["images"]}
    names = {each["id"]: each["name"] for each in content["categories"]}
    found: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for each in content["annotations"]:
        found[images[each["image_id"]], names[each["category_id"]]].append(each["bbox"])
    return found


def kept(before: dict[Any, list[Any]], after: dict[Any, list[Any]]) -> int:
    """How many boxes are there again, to the hundredth of a pixel to which outlines and boxes of LVIS agree."""
    count = 0
    for key, own in before.items():
        for box in own:
            for place, other in enumerate(after.get(key, [])):
                if max(abs(a - b) for a, b in zip(box, other, strict=True)) < 0.02:
                    del after[key][place]
                    count += 1
                    break
    return count


def row(name: str, own: Any) -> str:
    """A line of the table."""
    defects = ", ".join(f"{count} x {kind}" for kind, count in own["defects"].items()) or "none"
    truth = ", ".join(f"{key} {value:.3f}" for key, value in own["its own truth scores"].items())
    trips = " | ".join(own["back from"].get(form, "") for form in ("voc", "yolo"))
    rates = f"{own['images/s of the check']:.0f}/s | {own['images/s of the loader']:.1f}/s"
    return (
        f"| {name} | `{own['recipe']}` | {own['images']} | {own['objects']} | {defects} | {rates} | {truth} | {trips} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description="Real sets through reader, check, loader, evaluators and conversion.")
    parser.add_argument("folder", type=Path, help="where the sets lie")
    parser.add_argument("--images", type=int, default=24, help="how many to load and judge of each")
    parser.add_argument("--only", nargs="+", help="sets to look at")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("| set | recipe | images | objects | defects | check | loader | its own truth | back from VOC | from YOLO |")
    print("| --- | --- | ---: | ---: | --- | ---: | ---: | --- | --- | --- |")
    figures = {}
    with TemporaryDirectory() as folder:
        link(Path(folder), given.folder.resolve())
        os.environ["DET_DATA"] = folder
        for name, one in SETS.items():
            if (given.folder / one.folder).is_dir() and (not given.only or name in given.only):
                figures[name] = measure(one, splits(one), given.images)
                print(row(name, figures[name]), flush=True)
    if not given.only:
        machine = {"torch": torch.__version__, "python": platform.python_version(), "cpus": os.cpu_count()}
        RESULTS.write_text(json.dumps({"sets": figures, "judged images": given.images, **machine}, indent=2) + "\n")


if __name__ == "__main__":
    main()
