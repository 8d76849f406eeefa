"""Processes that evaluate together: each sees its share, and the first puts together what all of them saw.

What goes between them is small and lies in ordinary memory, so that gloo serves whatever the models compute on.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import distributed as dist

from det_core.errors import ConfigError

__all__ = ["collected", "own_device", "place", "process_group", "require_one_process", "told_by_first"]

_T = TypeVar("_T")


def place() -> tuple[int, int]:
    """(rank, world size) of this process in torch.distributed's group; (0, 1) where there is none."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


@contextmanager
def process_group() -> Iterator[tuple[int, int]]:
    """Join the group that `torchrun` has told of in the environment; gives this process's `place`.

    Without `torchrun`, or in a group that is there already, it does nothing.
    """
    if _started() == 1 or not dist.is_available() or dist.is_initialized():
        yield place()
        return
    dist.init_process_group("gloo")
    try:
        yield place()
    finally:
        dist.destroy_process_group()


def require_one_process(where: str) -> None:
    """Raise ConfigError if this is one of several processes, for what each of them would do for itself."""
    if (count := max(_started(), place()[1])) > 1:
        raise ConfigError(where, "works in one process", f"torchrun started {count}", "start it without torchrun")


def _started() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def own_device(name: str | None) -> str | None:
    """`name`, or, where none is given and `torchrun` started several processes, the GPU that is this one's."""
    local = os.environ.get("LOCAL_RANK")
    if name is None and local is not None and torch.cuda.is_available():
        return f"cuda:{int(local) % torch.cuda.device_count()}"
    return name


def collected(value: _T) -> list[_T] | None:
    """What each process gives, by rank, in the first process; None in the others. `value` must be picklable."""
    rank, world_size = place()
    if world_size == 1:
        return [value]
    values: list[_T] | None = [value] * world_size if rank == 0 else None
    dist.gather_object(value, values, dst=0)
    return values


def told_by_first(value: _T) -> _T:
    """What the first process gives, in all of them."""
    if place()[1] == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]
