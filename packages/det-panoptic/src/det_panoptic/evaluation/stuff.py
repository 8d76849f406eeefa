"""How well the pixels of stuff are told by a model that takes all things for one class."""

from collections.abc import Sequence

from det_core.errors import ConfigError
from det_datasets.evaluators import MeanIoU

__all__ = ["StuffIoU"]


class StuffIoU(MeanIoU):
    """`MeanIoU` over "things" and each class of stuff.

    Args:
        classes: the name of each label: things, then stuff.
        num_stuff: how many of them, the last ones, are stuff.
    """

    def __init__(self, classes: Sequence[str], num_stuff: int) -> None:
        if not 0 < num_stuff <= len(classes):
            raise ConfigError("StuffIoU.num_stuff", f"must be from 1 to {len(classes)}", f"got {num_stuff}")
        super().__init__(("things", *classes[-num_stuff:]))
