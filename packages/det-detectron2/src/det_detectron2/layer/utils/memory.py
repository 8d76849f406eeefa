"""Trying again where memory of the GPU is short, as `detectron2.utils.memory`."""

import functools
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["retry_if_cuda_oom"]


def retry_if_cuda_oom(func: Callable[..., Any]) -> Callable[..., Any]:
    """A function that, where memory is short, is called again with an empty cache, and then with tensors on the CPU."""

    def on_cpu(value: Any) -> Any:
        return value.to("cpu") if isinstance(value, Tensor) and value.is_cuda else value

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        for _ in range(2):
            try:
                return func(*args, **kwargs)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
        logging.getLogger(__name__).info("Attempting to copy inputs of %s to CPU due to CUDA OOM", func)
        return func(*map(on_cpu, args), **{name: on_cpu(value) for name, value in kwargs.items()})

    return wrapped
