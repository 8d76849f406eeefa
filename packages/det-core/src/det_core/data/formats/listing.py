"""The content of the files of a dataset in the form of COCO, before validation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from det_core.data.formats.coco_index import BadAnnotations, CocoIndex, MaskForm, checked
from det_core.data.formats.faults import Fault
from det_core.errors import DataError

__all__ = ["Listing"]


@dataclass(frozen=True)
class Listing:
    """The input of a `CocoIndex`, of `det data check`, and of `det data convert`.

    Attributes:
        content: the lists "images", "categories" and perhaps "annotations", as in a COCO file.
        images: the folder that the file names start from.
        annotations: the file or folder that it was read from, for messages.
        marks: flags of annotations, by the key of the extra that they become.
        faults: files that cannot be read, whose content is missing.
        left_out: further left-out parts -> count.
        own_ids: whether the files themselves give these ids; else the reader has made them.
        checks: further checks of an annotation in `det data check`, beside the rules of COCO.
    """

    content: Mapping[str, Any]
    images: Path
    annotations: Path
    marks: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[DataError, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    own_ids: bool = True
    checks: tuple[Callable[[Mapping[str, Any]], Iterable[Fault]], ...] = ()

    def checked(
        self,
        classes: Sequence[str] | None = None,
        masks: MaskForm = None,
        keypoints: bool = False,
        rotated: bool = False,
        bad_annotations: BadAnnotations = "stop",
    ) -> CocoIndex:
        """The index; arguments and errors are those of `coco_index.checked`, and a file that cannot be read is one."""
        if self.faults and bad_annotations == "stop":
            raise self.faults[0]
        index = checked(self.content, self.annotations, classes, masks, keypoints, rotated, bad_annotations, self.marks)
        faults = {"images whose files cannot be read": len(self.faults)}
        left_out = {**faults, **self.left_out, **index.left_out}
        return replace(index, skipped=(*map(str, self.faults), *index.skipped), left_out=left_out)
