"""Collecting images and objects in the form of a COCO file, for formats that no dataset of det reads."""

from pathlib import Path, PurePosixPath
from typing import Any

from det_core.data.formats.listing import Listing
from det_core.data.images import image_size
from det_core.errors import DataError
from det_core.structures import Size

from det_inspect.start.tree import Tree

__all__ = ["Collected"]


class Collected:
    """Images and objects of one split, added one by one.

    Args:
        tree: the folder of the data.
        source: the file or folder of the annotations, for messages.
    """

    def __init__(self, tree: Tree, source: PurePosixPath) -> None:
        self.tree, self.source = tree, tree.root / source
        self.near = source if self.source.is_dir() else source.parent
        self.sizes: dict[str, Size] = {}
        self.images: list[dict[str, Any]] = []
        self.objects: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.faults: list[DataError] = []
        self.left_out: dict[str, int] = {}

    def image(self, name: str) -> str | None:
        """The path from the root, which is the id, of the picture called `name`; None where it cannot be used."""
        picture = self.tree.find(name, self.near)
        if picture is None:
            self.skip("entries of pictures that are not there")
            return None
        path = picture.as_posix()
        if path not in self.sizes:
            try:
                self.sizes[path] = height, width = image_size(self.tree.root / picture)
            except DataError as error:
                self.faults.append(error)
                return None
            self.images.append({"id": path, "file_name": path, "height": height, "width": width})
        return path

    def object(self, image: str, name: str, bbox: list[float] | None = None, **more: Any) -> None:
        """Add an object; `bbox` is x, y, width, height, or that of its `segmentation`."""
        if name not in self.names:
            self.names.append(name)
        if bbox is None:
            xs, ys = ([value for ring in more["segmentation"] for value in ring[start::2]] for start in (0, 1))
            bbox = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
        number = len(self.objects) + 1
        self.objects.append({"id": number, "image_id": image, "category_id": name, "bbox": bbox, **more})

    def skip(self, kind: str) -> None:
        """Count something that is left out."""
        self.left_out[kind] = self.left_out.get(kind, 0) + 1

    def fault(self, where: str, problem: str, detail: str = "") -> None:
        """Report an entry that cannot be read."""
        self.faults.append(DataError(where, problem, detail))

    def listing(self) -> Listing:
        """All of it; classes are in the order of their names."""
        names = sorted(self.names)
        labels = {name: label for label, name in enumerate(names)}
        objects = [{**each, "category_id": labels[each["category_id"]]} for each in self.objects]
        categories = [{"id": label, "name": name} for name, label in labels.items()]
        content = {"images": self.images, "annotations": objects, "categories": categories}
        faults, left_out = tuple(self.faults), dict(self.left_out)
        return Listing(content, Path(self.tree.root), self.source, faults=faults, left_out=left_out, own_ids=False)
