"""COCO's format, as `detectron2.data.datasets.coco`."""

import datetime
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask
from det_core.errors import DataError
from det_core.files import jsonfile

from det_detectron2.layer.data.catalog import DatasetCatalog, MetadataCatalog
from det_detectron2.layer.structures import Boxes, BoxMode, PolygonMasks, RotatedBoxes

__all__ = [
    "convert_to_coco_dict",
    "convert_to_coco_json",
    "load_coco_json",
    "load_sem_seg",
    "register_coco_instances",
]


def register_coco_instances(name: str, metadata: Mapping[str, Any], json_file: str, image_root: str | Path) -> None:
    """Register a data set in COCO's format under a name.

    Args:
        name: name of the data set, such as "my_train".
        metadata: further metadata by name; may be empty.
        json_file: path of the annotation file.
        image_root: folder of the images; file names are relative to it.
    """
    assert isinstance(name, str), name
    assert isinstance(json_file, str | os.PathLike), json_file
    assert isinstance(image_root, str | os.PathLike), image_root
    DatasetCatalog.register(name, lambda: load_coco_json(json_file, image_root, name))
    MetadataCatalog.get(name).set(json_file=json_file, image_root=image_root, evaluator_type="coco", **metadata)


def load_coco_json(
    json_file: str | Path,
    image_root: str | Path,
    dataset_name: str | None = None,
    extra_annotation_keys: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """The images of a COCO file, in the order of their ids, each with its annotations.

    With a name, `thing_classes` and `thing_dataset_id_to_contiguous_id` of its metadata are set, and categories count
    from 0 in the order of their ids.

    Args:
        json_file: path of the annotation file.
        image_root: folder of the images; file names are relative to it.
        dataset_name: name of the data set in `MetadataCatalog`.
        extra_annotation_keys: further keys of annotations to keep.

    Raises:
        DataError: the file cannot be read, or an annotation is not as COCO's.
    """
    logger = logging.getLogger(__name__)
    content = jsonfile.read(Path(json_file))
    labels = _labels(content, dataset_name)
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for each in content.get("annotations", ()):
        by_image.setdefault(each["image_id"], []).append(each)
    keys = ("iscrowd", "bbox", "keypoints", "category_id", *(extra_annotation_keys or ()))
    records, lost = [], 0
    for image in sorted(content["images"], key=lambda each: each["id"]):
        record = {key: image[key] for key in ("height", "width")}
        record |= {"file_name": os.path.join(image_root, image["file_name"]), "image_id": image["id"]}  # noqa: PTH118
        entries = [_entry(each, keys, labels, str(json_file)) for each in by_image.get(image["id"], ())]
        objects = [each for each in entries if each is not None]
        lost += len(entries) - len(objects)
        records.append(record | {"annotations": objects})
    if lost:
        logger.warning("%s: %d instances without a polygon of three points are left out", json_file, lost)
    return records


def _entry(
    annotation: Mapping[str, Any], keys: Sequence[str], labels: Mapping[int, int] | None, where: str
) -> dict[str, Any] | None:
    """An annotation of a file as one of a record; None if none of its polygons has three points."""
    entry = {key: annotation[key] for key in keys if key in annotation}
    if len(entry.get("bbox", (0,))) == 0:
        raise DataError(where, f"annotation {annotation.get('id')} has an empty bbox")
    mask = annotation.get("segmentation")
    if isinstance(mask, list):
        mask = [ring for ring in mask if len(ring) % 2 == 0 and len(ring) >= 6]
        if not mask:
            return None
    if isinstance(mask, dict) and isinstance(mask["counts"], list):
        mask = coco_mask.frPyObjects(mask, *mask["size"])
    if mask:
        entry["segmentation"] = mask
    if points := entry.get("keypoints"):
        # COCO counts pixels by their corners at 0; here their middles are at 0.5.
        entry["keypoints"] = [value + 0.5 if place % 3 != 2 else value for place, value in enumerate(points)]
    entry["bbox_mode"] = BoxMode.XYWH_ABS
    if labels is not None:
        if entry["category_id"] not in labels:
            problem = f"annotation {annotation.get('id')} has the category {entry['category_id']}"
            raise DataError(where, f"{problem}, which is not in its categories")
        entry["category_id"] = labels[entry["category_id"]]
    return entry


def _labels(content: Mapping[str, Any], dataset_name: str | None) -> dict[int, int] | None:
    if dataset_name is None:
        return None
    metadata = MetadataCatalog.get(dataset_name)
    categories = sorted(content["categories"], key=lambda each: each["id"])
    labels = {each["id"]: label for label, each in enumerate(categories)}
    metadata.thing_classes = [each["name"] for each in categories]
    metadata.thing_dataset_id_to_contiguous_id = labels
    return labels


def load_sem_seg(gt_root: str, image_root: str, gt_ext: str = "png", image_ext: str = "jpg") -> list[dict[str, Any]]:
    """Pairs of an image and its labels, "file_name" and "sem_seg_file_name", by their paths below two folders.

    Args:
        gt_root: folder of label images.
        image_root: folder of images.
        gt_ext: file suffix of label images.
        image_ext: file suffix of images.
    """

    def files(root: str, suffix: str) -> dict[str, str]:
        results = sorted(Path(root).rglob(f"*.{suffix}"))
        return {str(each.relative_to(root).with_suffix("")): str(each) for each in results}

    images, labels = files(image_root, image_ext), files(gt_root, gt_ext)
    assert labels, f"No annotations found in {gt_root}."
    if images.keys() != labels.keys():
        logger = logging.getLogger(__name__)
        logger.warning("Directory %s and %s has %d and %d files", image_root, gt_root, len(images), len(labels))
    both = [name for name in images if name in labels]
    return [{"file_name": images[name], "sem_seg_file_name": labels[name]} for name in both]


def convert_to_coco_dict(dataset_name: str) -> dict[str, Any]:
    """A registered data set as the content of a COCO file; category ids are those of its metadata, else labels."""
    records, metadata = DatasetCatalog.get(dataset_name), MetadataCatalog.get(dataset_name)
    numbers = metadata.get("thing_dataset_id_to_contiguous_id") or {}
    back = {label: number for number, label in numbers.items()}
    categories = [{"id": back.get(label, label), "name": name} for label, name in enumerate(metadata.thing_classes)]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for place, record in enumerate(records):
        image = {
            "id": record.get("image_id", place),
            "width": int(record["width"]),
            "height": int(record["height"]),
            "file_name": str(record["file_name"]),
        }
        images.append(image)
        for each in record.get("annotations", []):
            row = _row(each)
            row |= {"id": len(annotations) + 1, "image_id": image["id"]}
            row["category_id"] = int(back.get(each["category_id"], each["category_id"]))
            annotations.append(row)
    now = datetime.datetime.now(datetime.UTC).isoformat()
    about = {"date_created": now, "description": f"{dataset_name}, written by det's layer for Detectron2"}
    return {
        "info": about, "images": images, "categories": categories, "licenses": None, "annotations": annotations
    }  # fmt: skip


def _row(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """An object as a row of a COCO file."""
    box = list(annotation["bbox"])
    if len(box) not in (4, 5):
        raise ValueError(f"bbox has to be 4-dimensional, or 5-dimensional, but has length {len(box)}.")
    mode = annotation["bbox_mode"]
    box = BoxMode.convert(box, mode, BoxMode.XYWH_ABS if len(box) == 4 else mode)
    row: dict[str, Any] = {
        "bbox": [round(float(value), 3) for value in box],
        "iscrowd": int(annotation.get("iscrowd", 0)),
    }
    segmentation_ = annotation.get("segmentation")
    if segmentation_ is not None:
        if isinstance(segmentation_, list):
            row["area"] = PolygonMasks([segmentation_]).area()[0].item()
            row["segmentation"] = [[float(value) for value in ring] for ring in segmentation_]
        elif isinstance(segmentation_, dict):
            row["area"] = int(coco_mask.area(segmentation_))
            counts = segmentation_["counts"]
            row["segmentation"] = {
                **segmentation_,
                "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
            }
        else:
            raise TypeError(f"Unknown segmentation type {type(segmentation_)}!")
    elif len(box) == 5:
        row["area"] = RotatedBoxes([box]).area()[0].item()
    else:
        corners = BoxMode.convert(box, BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)
        row["area"] = Boxes([corners]).area()[0].item()
    if "keypoints" in annotation:
        points = np.asarray(annotation["keypoints"], dtype=float).reshape(-1, 3).copy()
        points[:, :2] -= 0.5  # COCO counts the corners of pixels
        row["keypoints"] = points.flatten().tolist()
        row["num_keypoints"] = int((points[:, 2] > 0).sum())
    return row


def convert_to_coco_json(dataset_name: str, output_file: str, allow_cached: bool = True) -> None:
    """Write a registered data set as a COCO file, unless there is one and `allow_cached`."""
    path = Path(output_file)
    if path.exists() and allow_cached:
        logging.getLogger(__name__).warning("Using previously cached COCO format annotations at '%s'", path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.tmp")
    part.write_text(json.dumps(convert_to_coco_dict(dataset_name)), "utf-8")
    part.replace(path)
