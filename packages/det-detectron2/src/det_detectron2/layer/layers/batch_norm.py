"""Norms by name, as `detectron2.layers.batch_norm`."""

from collections.abc import Callable
from typing import Any

from det_core.ops.layers import FrozenBatchNorm2d, LayerNorm2d
from torch import nn

__all__ = ["FrozenBatchNorm2d", "NaiveSyncBatchNorm", "get_norm"]

NaiveSyncBatchNorm = nn.SyncBatchNorm
"""Statistics over all processes; torch's own, which is right for batches of different sizes too."""

_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "BN": nn.BatchNorm2d,
    "SyncBN": nn.SyncBatchNorm,
    "FrozenBN": FrozenBatchNorm2d,
    "GN": lambda channels: nn.GroupNorm(32, channels),
    "nnSyncBN": nn.SyncBatchNorm,
    "naiveSyncBN": nn.SyncBatchNorm,
    "naiveSyncBN_N": nn.SyncBatchNorm,
    "LN": LayerNorm2d,
}


def get_norm(norm: str | Callable[[int], nn.Module] | None, out_channels: int) -> Any:
    """The norm of a number of channels; None for "" or None.

    Args:
        norm: "BN", "SyncBN", "FrozenBN", "GN" or "LN", or a function from the number of channels to a layer.
        out_channels: the number of channels.
    """
    if norm is None or norm == "":
        return None
    return (_NORMS[norm] if isinstance(norm, str) else norm)(out_channels)
