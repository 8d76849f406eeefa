"""What all panoptic datasets share whose segments are held in a `PanopticIndex`."""

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
from det_panoptic.truth import IDS, SEGMENTS, SegmentIds, boxes_of

__all__ = ["BadSegments", "PanopticImages", "Semantic"]

BadSegments = Literal["stop", "skip"]
"""What to do where file and label image disagree: raise an error, or leave out what only one of them knows."""
Semantic = Literal["classes", "stuff"]
"""What `Targets.semantic` counts: all classes; or things as one, the first, and then stuff."""

_UNKNOWN = 255


class PanopticImages:
    """Images, and label images that say which segment each pixel belongs to.

    Args:
        index: what the images hold; it was checked before, an image is when it is read.
        images: the folder that the file names start from.
        labels: the folder of the label images.
        annotations: the file that the index was read from, for messages.
        semantic: see `Semantic`.
        masks: whether to give masks of things, bool (N, H, W).
        bad_segments: see `BadSegments`.

    Attributes:
        classes: the name of each label.
        category_ids: the file's category id of each label.
        things: the labels of things.
        left_out: what was left out, and how many, as `det_core.data.left_out` describes it.
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
        if (found := tuple(image.shape[1:])) != size:
            told = f"{self.annotations} says {size[1]} x {size[0]}"
            raise DataError(str(path), f"the image has {found[1]} x {found[0]} upright pixels", told)
        image_id = self._index.image_ids[row].item()
        return Sample(image=image, targets=self._targets(row, size), id=image_id, path=path)

    def path(self, index: int) -> Path:
        """The file of an image, whether or not it is there."""
        return self.images / self._index.file_names[self._row(index)]

    def label_path(self, index: int) -> Path:
        """The file of its label image, whether or not it is there."""
        return self.labels / self._index.label_files[self._row(index)]

    def size_of(self, index: int) -> Size:
        """(height, width) as the annotations say."""
        height, width = self._index.sizes[self._row(index)].tolist()
        return height, width

    def labels_of(self, index: int) -> Sequence[int]:
        """The label of each thing, crowds included."""
        labels = self._index.labels[self._own(self._row(index))]
        things: list[int] = labels[self._index.things[labels]].tolist()
        return things

    def _row(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return index % len(self)

    def _own(self, row: int) -> slice:
        return slice(int(self._index.first[row]), int(self._index.first[row + 1]))

    def _targets(self, row: int, size: Size) -> Targets:
        ids, kept = self._ids(row, size)
        labels = torch.from_numpy(self._index.labels[self._own(row)][kept])
        crowd = torch.from_numpy(self._index.crowd[self._own(row)][kept])
        is_thing = torch.from_numpy(self._index.things)[labels]
        segments = torch.stack((labels, is_thing.long(), crowd.long()), dim=1)
        areas = torch.bincount(ids.flatten(), minlength=len(labels) + 1)[1:]
        objects = is_thing.nonzero()[:, 0]
        return Targets(
            boxes=boxes_of(ids, len(labels))[objects],
            labels=labels[objects],
            crowd=crowd[objects],
            areas=areas[objects].float(),
            masks=ids == (objects + 1)[:, None, None] if self._masks else None,
            semantic=torch.cat((torch.tensor([_UNKNOWN]), self._classes(labels, is_thing)))[ids],
            image_extras={IDS: ids.int().as_subclass(SegmentIds), SEGMENTS: segments},
        )

    def _classes(self, labels: Tensor, is_thing: Tensor) -> Tensor:
        """What stands for each segment in `Targets.semantic`."""
        if self._semantic == "classes":
            return labels
        return torch.where(is_thing, 0, labels - len(self.things) + 1)

    def _ids(self, row: int, size: Size) -> tuple[Tensor, NDArray[np.bool_]]:
        """The segment of each pixel, counted from 1 in the order of the index, and which segments these are."""
        own, path = self._index.ids[self._own(row)], self.labels / self._index.label_files[row]
        numbers = read_label_image(path, size)
        order = np.argsort(own)
        ranked = np.append(own[order], -1)  # what is larger than all is found at the end
        at = np.searchsorted(ranked[:-1], numbers)
        known = ranked[at] == numbers
        seen = np.zeros(len(own), bool)
        seen[order] = np.bincount(at[known], minlength=len(own)) > 0
        if self._bad == "stop":
            self._require_agreement(path, own[~seen], np.unique(numbers[~known & (numbers > 0)]))
        place = np.where(seen, seen.cumsum(), 0)
        ids = np.where(known, np.append(place[order], 0)[at], 0)
        return torch.from_numpy(ids), seen

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
        own = self._targets(self._row(index), sample.size)
        joined = replace(targets, semantic=own.semantic, image_extras={**targets.image_extras, **own.image_extras})
        return replace(sample, targets=joined, id=self._index.image_ids[self._row(index)].item())
