"""Datasets by their names in Detectron2, as recipe nodes with paths relative to the data folder."""

from collections.abc import Mapping, Sequence
from typing import Any

from det_core.zoo.class_names import CITYSCAPES_SEMANTIC_CLASSES, COCO_STUFF_CLASSES

from det_detectron2.importer.extensions import extensions

__all__ = ["STUFF", "published_dataset"]

STUFF = ["things", *COCO_STUFF_CLASSES]
"""The classes of COCO's stuff when all things are one class."""


def _coco(split: str, annotations: str) -> dict[str, Any]:
    return {"type": "coco", "images": f"coco/{split}", "annotations": f"coco/annotations/{annotations}.json"}


def _stuff(split: str) -> dict[str, Any]:
    places = {"images": f"coco/{split}2017", "labels": f"coco/panoptic_stuff_{split}2017"}
    return {"type": "semantic_folder", **places, "classes": STUFF}


_DATASETS: Mapping[str, dict[str, Any]] = {
    **{f"coco_2017_{split}": _coco(f"{split}2017", f"instances_{split}2017") for split in ("train", "val")},
    **{
        f"keypoints_coco_2017_{split}": _coco(f"{split}2017", f"person_keypoints_{split}2017")
        for split in ("train", "val")
    },
    **{
        f"cityscapes_fine_instance_seg_{split}": {
            "type": "cityscapes",
            "images": f"cityscapes/leftImg8bit/{split}",
            "annotations": f"cityscapes/gtFine/{split}",
        }
        for split in ("train", "val", "test")
    },
    **{
        f"cityscapes_fine_sem_seg_{split}": {
            "type": "semantic_folder",
            "images": f"cityscapes/leftImg8bit/{split}",
            "labels": f"cityscapes/gtFine/{split}",
            "classes": list(CITYSCAPES_SEMANTIC_CLASSES),
            "image_suffix": "_leftImg8bit.png",
            "label_suffix": "_gtFine_labelTrainIds.png",
        }
        for split in ("train", "val")
    },
    **{f"coco_2017_{split}_panoptic_stuffonly": _stuff(split) for split in ("train", "val")},
    **{
        f"lvis_{version}_{split}": {
            "type": "lvis",
            "images": "coco",
            "annotations": f"lvis/lvis_{version}_{split}.json",
        }
        for version in ("v0.5", "v1")
        for split in ("train", "val")
    },
    **{
        f"voc_{year}_{split}": {"type": "voc", "folder": f"VOC{year}", "split": split}
        for year in (2007, 2012)
        for split in ("trainval", "train", "val", "test")
        if (year, split) != (2012, "test")  # never published
    },
}


def published_dataset(names: Sequence[str], **arguments: Any) -> dict[str, Any] | None:
    """Node of a dataset, or of several as one; None for an unknown name or no names.

    Args:
        names: dataset names in Detectron2.
        arguments: arguments of each dataset, where its kind has them.
    """
    datasets = {**_DATASETS, **{name: node for each in extensions() for name, node in each.datasets.items()}}
    if not names or any(name not in datasets for name in names):
        return None
    nodes = [{**datasets[name]} | _fitting(datasets[name]["type"], arguments) for name in names]
    return nodes[0] if len(nodes) == 1 else {"type": "concat", "datasets": nodes}


# Arguments of each kind of dataset; those of plugins are set by their `complete`.
_ARGUMENTS = {
    "coco": ("keypoints", "rotated", "masks", "keep_empty", "bad_annotations", "min_keypoints"),
    "cityscapes": ("masks", "keep_empty"),
    "lvis": ("masks", "keep_empty", "bad_annotations"),
    "voc": ("keep_empty", "bad_annotations"),
}


def _fitting(kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    supported = _ARGUMENTS.get(kind, ())
    node = {name: value for name, value in arguments.items() if name in supported}
    if kind == "cityscapes" and "masks" in node:
        node["masks"] = "bitmaps"  # polygons hide each other
    return node
