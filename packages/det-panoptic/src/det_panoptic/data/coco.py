"""COCO's panoptic annotations: a JSON file and a folder of PNG files."""

from collections import Counter
from pathlib import Path

from det_core.contracts import Dataset
from det_core.data import left_out
from det_core.errors import ConfigError, DataError
from det_core.structures import Sample

from det_panoptic.data.images import BadSegments, PanopticImages, Semantic
from det_panoptic.data.index import read_index

__all__ = ["CocoPanoptic"]


class CocoPanoptic(PanopticImages):
    """Images and their segments from a COCO panoptic file.

    Labels count thing classes first, then stuff classes, each in the order of the category ids. The file is validated
    on construction, an image when it is read.

    Args:
        images: folder that image file names start from.
        annotations: JSON file, such as panoptic_train2017.json.
        labels: folder of PNG files, such as panoptic_train2017.
        semantic: content of `Targets.semantic`: "classes" for the label of each pixel; "stuff" for 0 on things, then
            stuff classes from 1, the targets of Panoptic FPN.
        masks: whether targets include thing masks, bool (N, H, W).
        objects: dataset of the same images whose objects replace the thing segments. COCO's instance annotations cover
            occluded parts; Panoptic FPN is trained on them.
        bad_segments: treatment of a mismatch between the segments of file and label image: "stop" raises an error;
            "skip" drops segments without pixels, and pixels without a segment become void.

    Raises:
        DataError: the file or one of its entries is invalid; or, on reading, an image or label image is missing,
            damaged, not of the size given in the file, or contains other segments.
    """

    def __init__(
        self,
        images: Path,
        annotations: Path,
        labels: Path,
        semantic: Semantic = "classes",
        masks: bool = False,
        objects: Dataset | None = None,
        bad_segments: BadSegments = "stop",
    ) -> None:
        index = read_index(Path(annotations), things_first=True)
        super().__init__(index, Path(images), Path(labels), Path(annotations), semantic, masks, bad_segments)
        self._objects, self._places = objects, {}
        if objects is not None:
            self.left_out |= left_out(objects)
            if masks:
                raise ConfigError("CocoPanoptic.masks", "are those of `objects`", fix="ask that dataset for masks")
            if list(objects.classes) != [self.classes[label] for label in self.things]:
                found = f"{list(objects.classes)[:5]} and {[self.classes[label] for label in self.things][:5]}"
                raise ConfigError("CocoPanoptic.objects", "must have the classes of things, in this order", found)
            path = getattr(objects, "path", None)
            if path is None:
                raise ConfigError("CocoPanoptic.objects", "must have the method `path`, the file of each image")
            files = [path(place) for place in range(len(objects))]
            counts = Counter(file.name for file in files)
            # By the whole path, or by the file name where it is unique.
            self._places = {file.name: place for place, file in enumerate(files) if counts[file.name] == 1}
            self._places |= {str(file): place for place, file in enumerate(files)}

    def __getitem__(self, index: int) -> Sample:
        """The image, its things as objects, the class of each pixel, and its segments."""
        if self._objects is None:
            return super().__getitem__(index)
        path = self.path(index)
        place = self._places.get(str(path), self._places.get(path.name))
        if place is None:
            fix = "let it keep images without objects, or choose another file"
            raise DataError(str(path), "is not among the images that the objects come from", fix=fix)
        sample = self._objects[place]
        if sample.size != self.size_of(index):
            found = f"{sample.size} and {self.size_of(index)}"
            raise DataError(str(path), "is of one size where the objects come from, of another here", found)
        if sample.targets is None:
            raise DataError(str(path), "has no objects where they should come from", fix="use annotated images")
        return self.with_objects(sample, sample.targets, index)
