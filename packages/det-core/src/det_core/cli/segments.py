"""What `det predict` writes of segments and of the classes of pixels."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from det_core.predict.detector import Result

__all__ = ["SegmentWriter"]


class SegmentWriter:
    """Writes panoptic.json and a PNG per image into `folder`/panoptic, or label images into `folder`/semantic.

    A file of an image appears when it is written; panoptic.json when all are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._images: list[dict[str, Any]] = []
        self._entries: list[dict[str, Any]] = []
        self._categories: dict[int, dict[str, Any]] = {}

    def write(self, found: "Result", image_id: int, file_name: str, stem: str) -> None:
        """Write what there is of one image; nothing of a model that only detects objects."""
        from PIL import Image

        panoptic, semantic = found.prediction.panoptic, found.prediction.semantic
        if panoptic is not None:
            colours, entry = found.to_coco_panoptic(image_id, f"{stem}.png")
            Image.fromarray(colours).save(self._within("panoptic") / f"{stem}.png")
            height, width = colours.shape[:2]
            self._images.append({"id": image_id, "file_name": file_name, "height": height, "width": width})
            self._entries.append(entry)
            for each in panoptic.segments:
                label = each["label"]
                own = {"id": found.category_ids[label], "name": found.classes[label], "isthing": int(each["is_thing"])}
                self._categories[label] = own
        elif semantic is not None:
            import numpy as np

            labels = semantic.logits.argmax(dim=0).cpu().numpy().astype(np.uint8)
            Image.fromarray(labels).save(self._within("semantic") / f"{stem}.png")

    def finish(self) -> None:
        """Write panoptic.json, if there are segments; it lists the categories that were found."""
        if self._entries:
            categories = [self._categories[label] for label in sorted(self._categories)]
            content = {"images": self._images, "annotations": self._entries, "categories": categories}
            (self.folder / "panoptic.json").write_text(json.dumps(content), encoding="utf-8")

    def _within(self, name: str) -> Path:
        place = self.folder / name
        place.mkdir(exist_ok=True)
        return place
