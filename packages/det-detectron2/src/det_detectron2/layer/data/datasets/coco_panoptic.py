"""COCO's panoptic format, as `detectron2.data.datasets.coco_panoptic`."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from det_core.errors import DataError
from det_core.files import jsonfile

from det_detectron2.layer.data.catalog import DatasetCatalog, MetadataCatalog
from det_detectron2.layer.data.datasets.coco import load_coco_json, load_sem_seg

__all__ = ["load_coco_panoptic_json", "register_coco_panoptic", "register_coco_panoptic_separated"]


def load_coco_panoptic_json(
    json_file: str, image_dir: str, gt_dir: str, meta: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The images of a panoptic file with "pan_seg_file_name" and "segments_info".

    Args:
        json_file: path of the annotation file.
        image_dir: folder of images.
        gt_dir: folder of panoptic PNG files.
        meta: mapping with `thing_dataset_id_to_contiguous_id` and `stuff_dataset_id_to_contiguous_id`.
    """
    things, stuff = meta["thing_dataset_id_to_contiguous_id"], meta["stuff_dataset_id_to_contiguous_id"]
    records = []
    for each in jsonfile.read(Path(json_file))["annotations"]:
        segments = []
        for segment in copy.deepcopy(each["segments_info"]):
            number = segment["category_id"]
            if number not in things and number not in stuff:
                raise DataError(json_file, f"image {each['image_id']} has the category {number}, which is not in meta")
            segment |= {"isthing": number in things, "category_id": (things if number in things else stuff)[number]}
            segments.append(segment)
        records.append(
            {
                "file_name": str(Path(image_dir) / Path(each["file_name"]).with_suffix(".jpg")),
                "image_id": int(each["image_id"]),
                "pan_seg_file_name": str(Path(gt_dir) / each["file_name"]),
                "segments_info": segments,
            }
        )
    assert records, f"No images found in {image_dir}!"
    return records


def register_coco_panoptic(
    name: str,
    metadata: Mapping[str, Any],
    image_root: str,
    panoptic_root: str,
    panoptic_json: str,
    instances_json: str | None = None,
) -> None:
    """Register a panoptic data set under a name.

    Args:
        name: name of the data set, such as "coco_2017_train_panoptic".
        metadata: category ids, class names and further metadata, by name.
        image_root: folder of images.
        panoptic_root: folder of panoptic PNG files.
        panoptic_json: path of the panoptic annotation file.
        instances_json: path of the COCO instance annotations, for evaluation.
    """
    DatasetCatalog.register(name, lambda: load_coco_panoptic_json(panoptic_json, image_root, panoptic_root, metadata))
    MetadataCatalog.get(name).set(
        panoptic_root=panoptic_root,
        image_root=image_root,
        panoptic_json=panoptic_json,
        json_file=instances_json,
        evaluator_type="coco_panoptic_seg",
        ignore_label=255,
        label_divisor=1000,
        **metadata,
    )


def register_coco_panoptic_separated(
    name: str,
    metadata: Mapping[str, Any],
    image_root: str,
    panoptic_root: str,
    panoptic_json: str,
    sem_seg_root: str,
    instances_json: str,
) -> None:
    """Register objects and classes of pixels apart, for Panoptic FPN, as `name`_separated.

    Args:
        name: name of the data set, such as "coco_2017_train_panoptic".
        metadata: metadata by name.
        image_root: folder of images.
        panoptic_root: folder of panoptic PNG files.
        panoptic_json: path of the panoptic annotation file.
        sem_seg_root: folder of label images.
        instances_json: path of the COCO instance annotations.
    """
    current = f"{name}_separated"

    def load() -> list[dict[str, Any]]:
        objects = load_coco_json(instances_json, image_root, current)
        pixels = {each["file_name"]: each for each in load_sem_seg(sem_seg_root, image_root)}
        return [{**each, "sem_seg_file_name": pixels[each["file_name"]]["sem_seg_file_name"]} for each in objects]

    DatasetCatalog.register(current, load)
    MetadataCatalog.get(current).set(
        panoptic_root=panoptic_root,
        image_root=image_root,
        panoptic_json=panoptic_json,
        sem_seg_root=sem_seg_root,
        json_file=instances_json,
        evaluator_type="coco_panoptic_seg",
        ignore_label=255,
        **metadata,
    )
