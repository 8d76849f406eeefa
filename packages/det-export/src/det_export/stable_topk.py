"""Equal scores in a fixed order: `torch.topk` leaves it open, ONNX takes the lowest index first."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["StableTopK"]

_TOPK = (torch.topk, torch.Tensor.topk)


class StableTopK(TorchFunctionMode):
    """Within it, `topk` orders equal values by ascending index, as ONNX defines it.

    Networks give equal scores to places with equal features (the padding of an image), and the detections then depend
    on the order of these places.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The call itself, or for `topk` a stable sort."""
        arguments = dict(kwargs or {})
        if func not in _TOPK or not arguments.get("largest", True) or len(args) > 3:
            return func(*args, **arguments)
        values = args[0] if args else arguments["input"]
        count = args[1] if len(args) > 1 else arguments["k"]
        dim = args[2] if len(args) > 2 else arguments.get("dim", -1)
        with torch._C.DisableTorchFunctionSubclass():
            ordered, index = values.sort(dim=dim, descending=True, stable=True)
            result = ordered.narrow(dim, 0, count), index.narrow(dim, 0, count)
        return torch.return_types.topk(result)
