"""Ground truth for losses."""

from collections.abc import Sequence

from det_core.errors import StructureError
from det_core.ops.geometry import nonempty
from det_core.structures import ImageBatch, Targets

__all__ = ["filter_targets"]


def filter_targets(batch: ImageBatch, targets: Sequence[Targets]) -> list[Targets]:
    """The targets without crowd regions and objects of zero area, which are not used for training."""
    if len(targets) != len(batch):
        raise StructureError("targets", "must be one per image", f"got {len(targets)} for {len(batch)} images")
    return [nonempty(target.without_crowd()) for target in targets]
