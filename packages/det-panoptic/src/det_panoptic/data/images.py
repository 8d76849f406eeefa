"""Base of the panoptic datasets with a `PanopticIndex`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from det_core.data import read_image
from det_core.errors import ConfigError, DataError
from det_core.structures import Sample, Size, Targets
from numpy.typing import NDArray
from torch import Tensor

from det_panoptic.data.index import PanopticIndex
from det_panoptic.data.label_image import read_label_image
from det_panoptic.segments import IDS, SEGMENTS, SegmentIds, segment_boxes

__all__ = ["BadSegments", "PanopticImages", "Semantic"]

BadSegments = Literal["stop", "skip"]
"""On a mismatch between file and label image: raise an error, or drop the segments that only one of them has."""
Semantic = Literal["classes", "stuff"]
"""Values of `Targets.semantic`: all classes; or things as one class, the first, and then stuff."""

_UNKNOWN = 255


class PanopticImages:
    """Images, and label images with the segment id of each pixel.

    Args:
        index: the validated annotations; images are validated when they are read.
        images: folder that the file names are relative to.
        labels: folder of the label images.
        annotations: file of the index, for messages.
        semantic: content of the semantic map (`Semantic`).
        masks: whether targets include thing masks, bool (N, H, W).
        bad_segments: treatment of invalid segments (`BadSegments`).

    Attributes:
        classes: names of the classes; the label is the index.
        category_ids: category ids of the file, by label.
        things: labels of the thing classes.
        left_out: reasons why images or objects were skipped, with counts; see `det_core.data.skipped_entries`.
    """

    evaluators: tuple[str, ...] = ("det-panoptic/panoptic_quality",)

    def __init__(
        self,
        index: PanopticIndex,
        images: Path,
        labels: Path,
        annotations: Path,
        semantic: Semantic = "classes",
        masks: bool = False,
        bad_segments: BadSegments = "stop",
    ) -> None:
        for folder in (images, labels):
            if not folder.is_dir():
                raise DataError(str(folder), "there is no such folder", fix="check the path")
        self.images, self.labels, self.annotations = images, labels, annotations
        self.classes, self.category_ids = index.classes, index.category_ids
        self.things = tuple(np.flatnonzero(index.things).tolist())
        if semantic == "stuff" and self.things != tuple(range(len(self.things))):
            raise ConfigError("semantic", "'stuff' needs things to be the first classes", f"they are {self.things}")
        self.left_out = {"images without an annotation": index.unannotated} if index.unannotated else {}
        self._index, self._semantic, self._masks, self._bad = index, semantic, masks, bad_segments

    def __len__(self) -> int:
        return len(self._index.first) - 1

    def __getitem__(self, index: int) -> Sample:
        """The image, its things as objects, the class of each pixel, and its segments."""
        row, path = self._row(index), self.path(index)
        if not path.exists():
            problem = f"{self.annotations} lists this file, but it is not there"
            raise DataError(str(path), problem, fix="check the folder of images, or take it out of the list")
        image, size = read_image(path), self.size_of(index)
        if (stored := tuple(image.shape[1:])) != size:
            expected = f"{self.annotations} gives {size[1]} x {size[0]}"
            raise DataError(str(path), f"the image has {stored[1]} x {stored[0]} upright pixels", expected)
        image_id = self._index.image_ids[row].item()
        return Sample(image=image, targets=self._targets(row, size), id=image_id, path=path)

    def path(self, index: int) -> Path:
        """File of an image, which may be missing."""
        return self.images / self._index.file_names[self._row(index)]

    def label_path(self, index: int) -> Path:
        """File of its label image, which may be missing."""
        return self.labels / self._index.label_files[self._row(index)]

    def size_of(self, index: int) -> Size:
        """(height, width) from the annotations."""
        height, width = self._index.sizes[self._row(index)].tolist()
        return height, width

    def labels_of(self, index: int) -> Sequence[int]:
        """The label of each thing, crowds included."""
        labels = self._index.labels[self._rows(self._row(index))]
        things: list[int] = labels[self._index.things[labels]].tolist()
        return things

    def _row(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return index % len(self)

    def _rows(self, row: int) -> slice:
        return slice(int(self._index.first[row]), int(self._index.first[row + 1]))

    def _targets(self, row: int, size: Size) -> Targets:
        ids, present = self._ids(row, size)
        labels = torch.from_numpy(self._index.labels[self._rows(row)][present])
        crowd = torch.from_numpy(self._index.crowd[self._rows(row)][present])
        is_thing = torch.from_numpy(self._index.things)[labels]
        segments = torch.stack((labels, is_thing.long(), crowd.long()), dim=1)
        areas = torch.bincount(ids.flatten(), minlength=len(labels) + 1)[1:]
        objects = is_thing.nonzero()[:, 0]
        return Targets(
            boxes=segment_boxes(ids, len(labels))[objects],
            labels=labels[objects],
            crowd=crowd[objects],
            areas=areas[objects].float(),
            masks=ids == (objects + 1)[:, None, None] if self._masks else None,
            semantic=torch.cat((torch.tensor([_UNKNOWN]), self._classes(labels, is_thing)))[ids],
            image_extras={IDS: ids.int().as_subclass(SegmentIds), SEGMENTS: segments},
        )

    def _classes(self, labels: Tensor, is_thing: Tensor) -> Tensor:
        """Value of each segment in `Targets.semantic`."""
        if self._semantic == "classes":
            return labels
        return torch.where(is_thing, 0, labels - len(self.things) + 1)

    def _ids(self, row: int, size: Size) -> tuple[Tensor, NDArray[np.bool_]]:
        """Segment of each pixel, counted from 1 in the order of the index, and which segments have pixels, bool."""
        segment_ids, path = self._index.ids[self._rows(row)], self.labels / self._index.label_files[row]
        numbers = read_label_image(path, size)
        order = np.argsort(segment_ids)
        ranked = np.append(segment_ids[order], -1)  # larger numbers map to the end
        at = np.searchsorted(ranked[:-1], numbers)
        listed = ranked[at] == numbers
        present = np.zeros(len(segment_ids), bool)
        present[order] = np.bincount(at[listed], minlength=len(segment_ids)) > 0
        if self._bad == "stop":
            self._require_agreement(path, segment_ids[~present], np.unique(numbers[~listed & (numbers > 0)]))
        place = np.where(present, present.cumsum(), 0)
        ids = np.where(listed, np.append(place[order], 0)[at], 0)
        return torch.from_numpy(ids), present

    def _require_agreement(self, path: Path, without_pixels: NDArray[np.int64], unknown: NDArray[np.int64]) -> None:
        fix = "correct one of the two, or leave both out with bad_segments: skip"
        if len(unknown):
            problem = f"has pixels of {len(unknown)} segments that {self.annotations} does not list"
            raise DataError(str(path), problem, f"such as {unknown[0]}", fix)
        if len(without_pixels):
            problem = f"has no pixel of {len(without_pixels)} segments that {self.annotations} lists"
            raise DataError(str(path), problem, f"such as {without_pixels[0]}", fix)

    def with_objects(self, sample: Sample, targets: Targets, index: int) -> Sample:
        """A sample of another dataset of the same image, with its objects and the segments of this one."""
        panoptic = self._targets(self._row(index), sample.size)
        joined = replace(
            targets, semantic=panoptic.semantic, image_extras={**targets.image_extras, **panoptic.image_extras}
        )
        return replace(sample, targets=joined, id=self._index.image_ids[self._row(index)].item())
