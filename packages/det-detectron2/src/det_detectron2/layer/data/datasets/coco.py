"""COCO's format, as `detectron2.data.datasets.coco`."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from det_core.errors import DataError
from det_core.files import jsonfile

from det_detectron2.layer.data.catalog import DatasetCatalog, MetadataCatalog
from det_detectron2.layer.structures import BoxMode

__all__ = ["load_coco_json", "register_coco_instances"]


def register_coco_instances(name: str, metadata: Mapping[str, Any], json_file: str, image_root: str | Path) -> None:
    """Register a data set in COCO's format under a name.

    Args:
        name: such as "my_train".
        metadata: what else is known about it; may be empty.
        json_file: the annotations.
        image_root: the folder that names of images start from.
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
        json_file: the annotations.
        image_root: the folder that names of images start from.
        dataset_name: the name in the catalogue.
        extra_annotation_keys: what else to keep of an annotation.

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
        objects = []
        for annotation in by_image.get(image["id"], ()):
            entry = {key: annotation[key] for key in keys if key in annotation}
            if len(entry.get("bbox", (0,))) == 0:
                raise DataError(str(json_file), f"annotation {annotation.get('id')} has an empty bbox")
            outline = annotation.get("segmentation")
            if isinstance(outline, list):
                outline = [ring for ring in outline if len(ring) % 2 == 0 and len(ring) >= 6]
                if not outline:
                    lost += 1
                    continue
            if outline:
                entry["segmentation"] = outline
            if points := entry.get("keypoints"):
                # COCO counts pixels by their corners at 0; here their middles are at 0.5.
                entry["keypoints"] = [value + 0.5 if place % 3 != 2 else value for place, value in enumerate(points)]
            entry["bbox_mode"] = BoxMode.XYWH_ABS
            if labels is not None:
                if entry["category_id"] not in labels:
                    problem = f"annotation {annotation.get('id')} has the category {entry['category_id']}"
                    raise DataError(str(json_file), f"{problem}, which is not in its categories")
                entry["category_id"] = labels[entry["category_id"]]
            objects.append(entry)
        records.append(record | {"annotations": objects})
    if lost:
        logger.warning("%s: %d instances without a polygon of three points are left out", json_file, lost)
    return records


def _labels(content: Mapping[str, Any], dataset_name: str | None) -> dict[int, int] | None:
    if dataset_name is None:
        return None
    metadata = MetadataCatalog.get(dataset_name)
    categories = sorted(content["categories"], key=lambda each: each["id"])
    labels = {each["id"]: label for label, each in enumerate(categories)}
    metadata.thing_classes = [each["name"] for each in categories]
    metadata.thing_dataset_id_to_contiguous_id = labels
    return labels
