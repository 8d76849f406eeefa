"""mIoU of stuff pixels, for a model that takes all things for one class."""

from collections.abc import Sequence

from det_core.errors import ConfigError
from det_datasets.evaluators import MeanIoU

__all__ = ["StuffIoU"]


class StuffIoU(MeanIoU):
    """`MeanIoU` over "things" and each class of stuff.

    Args:
        classes: class names, by label: things, then stuff.
        num_stuff: number of stuff classes, which come last.
    """

    def __init__(self, classes: Sequence[str], num_stuff: int) -> None:
        if not 0 < num_stuff <= len(classes):
            raise ConfigError("StuffIoU.num_stuff", f"must be from 1 to {len(classes)}", f"got {num_stuff}")
        super().__init__(("things", *classes[-num_stuff:]))
