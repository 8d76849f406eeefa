"""`det predict --save segments`: semantic and panoptic predictions as label images and COCO panoptic files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from det_core.predict import Result
from det_core.predict.writers import ImageName, save_picture
from det_core.structures import PanopticMap
from numpy.typing import NDArray
from PIL import Image

__all__ = ["SegmentWriter", "to_coco_panoptic"]


class SegmentWriter:
    """Writes panoptic.json and a PNG per image into `folder`/panoptic, or label images into `folder`/semantic.

    The file of an image appears when it is written; panoptic.json when all are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._images: list[dict[str, Any]] = []
        self._entries: list[dict[str, Any]] = []
        self._categories: dict[int, dict[str, Any]] = {}

    def write(self, result: Result, name: ImageName) -> None:
        """Write the maps of one image; writes no files for a model that only detects objects."""
        panoptic, semantic = result.prediction.panoptic, result.prediction.semantic
        png = Path(name.picture).with_suffix(".png")
        if panoptic is not None:
            colors, entry = to_coco_panoptic(panoptic, name.id, result.category_ids, png.as_posix())
            save_picture(Image.fromarray(colors), self._folder / "panoptic" / png)
            height, width = colors.shape[:2]
            self._images.append({"id": name.id, "file_name": name.file_name, "height": height, "width": width})
            self._entries.append(entry)
            for each in panoptic.segments:
                label = each["label"]
                category = {"id": result.category_ids[label], "name": result.classes[label]}
                self._categories[label] = {**category, "isthing": int(each["is_thing"])}
        elif semantic is not None:
            labels = semantic.logits.argmax(dim=0).cpu().numpy().astype(np.uint8)
            save_picture(Image.fromarray(labels), self._folder / "semantic" / png)

    def finish(self) -> None:
        """Write panoptic.json, if there are segments; it lists the categories that were found."""
        if self._entries:
            categories = [self._categories[label] for label in sorted(self._categories)]
            content = {"images": self._images, "annotations": self._entries, "categories": categories}
            (self._folder / "panoptic.json").write_text(json.dumps(content), encoding="utf-8")


def to_coco_panoptic(
    panoptic: PanopticMap, image_id: int | str, category_ids: Sequence[int], file_name: str
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """The colors of a PNG file, uint8 (H, W, 3), and the entry of its image; segments without pixels are left out.

    A color is the id of a segment, red + 256 green + 65536 blue; black is none. Segments also have a score, where
    they have one.

    Args:
        panoptic: segments in pixels of the stored image.
        image_id: id of the image in the annotation file.
        category_ids: the annotation file's category of each label.
        file_name: name of the PNG file in the entry.
    """
    ids = panoptic.ids.cpu().numpy().astype(np.int64)
    colors = np.stack((ids % 256, ids // 256 % 256, ids // 65536), axis=-1).astype(np.uint8)
    segments = []
    for each in panoptic.segments:
        rows, columns = np.nonzero(ids == each["id"])
        if not len(rows):
            continue
        left, top = int(columns.min()), int(rows.min())
        entry = {
            "id": each["id"],
            "category_id": category_ids[each["label"]],
            "area": len(rows),
            "bbox": [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top],
            "iscrowd": 0,
        }
        segments.append(entry | ({"score": each["score"]} if "score" in each else {}))
    return colors, {"image_id": image_id, "file_name": file_name, "segments_info": segments}
