"""PASCAL VOC's format, as `detectron2.data.datasets.pascal_voc`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from det_core.zoo.class_names import VOC_CLASSES

from det_detectron2.layer.data.catalog import DatasetCatalog, MetadataCatalog
from det_detectron2.layer.structures import BoxMode

__all__ = ["CLASS_NAMES", "load_voc_instances", "register_pascal_voc"]

CLASS_NAMES = tuple(VOC_CLASSES)


def load_voc_instances(dirname: str, split: str, class_names: Sequence[str] = CLASS_NAMES) -> list[dict[str, Any]]:
    """The images of a list, with their objects; pixels count from 0 here, from 1 in the files.

    Args:
        dirname: folder with Annotations, ImageSets and JPEGImages.
        split: name of the image list, such as "trainval".
        class_names: class names in the order of labels.
    """
    from det_datasets.readers.voc import parsed

    folder = Path(dirname)
    names = (folder / "ImageSets/Main" / f"{split}.txt").read_text("utf-8").split()
    records = []
    for name in names:
        file = folder / "Annotations" / f"{name}.xml"
        tree = parsed(file.read_bytes(), str(file))
        objects = []
        for each in tree.findall("object"):
            box = each.find("bndbox")
            corners = [float(box.findtext(key)) for key in ("xmin", "ymin", "xmax", "ymax")]  # type: ignore[union-attr,arg-type]
            corners[0] -= 1.0
            corners[1] -= 1.0
            objects.append(
                {
                    "category_id": list(class_names).index(str(each.findtext("name"))),
                    "bbox": corners,
                    "bbox_mode": BoxMode.XYXY_ABS,
                    "difficult": int(each.findtext("difficult") or 0),
                }
            )
        records.append(
            {
                "file_name": str(folder / "JPEGImages" / f"{name}.jpg"),
                "image_id": name,
                "height": int(tree.findtext("size/height")),  # type: ignore[arg-type]
                "width": int(tree.findtext("size/width")),  # type: ignore[arg-type]
                "annotations": objects,
            }
        )
    return records


def register_pascal_voc(
    name: str, dirname: str, split: str, year: int, class_names: Sequence[str] = CLASS_NAMES
) -> None:
    """Register a list of images under a name.

    Args:
        name: name of the data set, such as "voc_2007_trainval".
        dirname: folder with Annotations, ImageSets and JPEGImages.
        split: name of the image list, such as "trainval".
        year: year of the data set; 2007 selects the 11-point AP.
        class_names: class names in the order of labels.
    """
    DatasetCatalog.register(name, lambda: load_voc_instances(dirname, split, class_names))
    metadata = MetadataCatalog.get(name)
    metadata.set(thing_classes=list(class_names), dirname=dirname, year=year, split=split, evaluator_type="pascal_voc")
