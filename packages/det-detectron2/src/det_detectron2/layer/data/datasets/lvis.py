"""LVIS' format, as `detectron2.data.datasets.lvis`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from det_core.errors import DataError
from det_core.files import jsonfile

from det_detectron2.layer.data.catalog import DatasetCatalog, MetadataCatalog
from det_detectron2.layer.structures import BoxMode

__all__ = ["get_lvis_instances_meta", "load_lvis_json", "register_lvis_instances"]


def register_lvis_instances(name: str, metadata: Mapping[str, Any], json_file: str, image_root: str) -> None:
    """Register a data set in LVIS' format under a name.

    Args:
        name: name of the data set, such as "lvis_v1_train".
        metadata: further metadata by name; may be empty.
        json_file: path of the annotation file.
        image_root: folder of the images; file names are relative to it.
    """
    DatasetCatalog.register(name, lambda: load_lvis_json(json_file, image_root, name))
    MetadataCatalog.get(name).set(json_file=json_file, image_root=image_root, evaluator_type="lvis", **metadata)


def get_lvis_instances_meta(dataset_name: str) -> dict[str, Any]:
    """What is known before the file is read: nothing; `load_lvis_json` sets the classes from the file."""
    return {}


def load_lvis_json(
    json_file: str | Path,
    image_root: str | Path,
    dataset_name: str | None = None,
    extra_annotation_keys: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """The images of an LVIS file, each with its annotations, and the classes that are absent or not exhaustive.

    With a name, `thing_classes`, `thing_dataset_id_to_contiguous_id`, `class_image_count` and `class_frequency` of its
    metadata are set.

    Args:
        json_file: path of the annotation file.
        image_root: folder of the images; file names are relative to it.
        dataset_name: name of the data set in `MetadataCatalog`.
        extra_annotation_keys: further keys of annotations to keep.
    """
    content = jsonfile.read(Path(json_file))
    categories = sorted(content["categories"], key=lambda each: each["id"])
    labels = {each["id"]: label for label, each in enumerate(categories)}
    if dataset_name is not None:
        metadata = MetadataCatalog.get(dataset_name)
        metadata.thing_classes = [each.get("synonyms", [each.get("name")])[0] for each in categories]
        metadata.thing_dataset_id_to_contiguous_id = labels
        if all("image_count" in each for each in categories):
            counts = [{"id": each["id"], "image_count": each["image_count"]} for each in categories]
            metadata.class_image_count = counts
        if all("frequency" in each for each in categories):
            metadata.class_frequency = [{"id": each["id"], "frequency": each["frequency"]} for each in categories]
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for each in content.get("annotations", ()):
        by_image.setdefault(each["image_id"], []).append(each)
    records = []
    for image in sorted(content["images"], key=lambda each: each["id"]):
        name = image.get("file_name") or "/".join(image["coco_url"].split("/")[-2:])
        record = {key: image[key] for key in ("height", "width")}
        record |= {"file_name": os.path.join(image_root, name), "image_id": image["id"]}  # noqa: PTH118
        for key in ("not_exhaustive_category_ids", "neg_category_ids"):
            record[key] = [labels[number] for number in image.get(key, ())]
        record["annotations"] = [
            _annotation(each, labels, extra_annotation_keys or (), json_file) for each in by_image.get(image["id"], ())
        ]
        records.append(record)
    return records


def _annotation(
    each: Mapping[str, Any], labels: Mapping[int, int], extra: Sequence[str], json_file: str | Path
) -> dict[str, Any]:
    if each["category_id"] not in labels:
        problem = f"annotation {each.get('id')} has the category {each['category_id']}, which is not in its categories"
        raise DataError(str(json_file), problem)
    rings = [ring for ring in each["segmentation"] if len(ring) % 2 == 0 and len(ring) >= 6]
    if len(rings) != len(each["segmentation"]):
        raise DataError(str(json_file), f"annotation {each.get('id')} has a polygon of less than three points")
    return {
        "bbox": each["bbox"],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": labels[each["category_id"]],
        "segmentation": rings,
        **{key: each[key] for key in extra},
    }
