"""Processes that work together, as `detectron2.utils.comm`."""

from typing import Any

import numpy as np
import torch
import torch.distributed as dist

__all__ = [
    "all_gather",
    "gather",
    "get_local_rank",
    "get_local_size",
    "get_rank",
    "get_world_size",
    "is_main_process",
    "reduce_dict",
    "shared_random_seed",
    "synchronize",
]


def _active() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if _active() else 1


def get_rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _active() else 0


def get_local_rank() -> int:
    """The number of this process on its machine, from 0."""
    return dist.get_node_local_rank(fallback_rank=0) if _active() else 0


def get_local_size() -> int:
    """How many processes there are on this machine."""
    import os

    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if _active() else 1


def is_main_process() -> bool:
    """Whether this is rank 0."""
    return get_rank() == 0


def synchronize() -> None:
    """Wait until all processes are here."""
    if get_world_size() > 1:
        dist.barrier()


def all_gather(data: Any, group: Any = None) -> list[Any]:
    """What each process gives, in all of them; anything that can be pickled."""
    if get_world_size() == 1:
        return [data]
    outputs: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(outputs, data, group=group)
    return outputs


def gather(data: Any, dst: int = 0, group: Any = None) -> list[Any]:
    """What each process gives, in process `dst`; an empty list elsewhere."""
    if get_world_size() == 1:
        return [data]
    outputs: list[Any] | None = [None] * dist.get_world_size(group) if get_rank() == dst else None
    dist.gather_object(data, outputs, dst=dst, group=group)
    return outputs or []


def shared_random_seed() -> int:
    """A random seed that is the same in all processes."""
    return int(all_gather(int(np.random.randint(2**31)))[0])


def reduce_dict(input_dict: dict[str, torch.Tensor], average: bool = True) -> dict[str, torch.Tensor]:
    """The means, or sums, of scalars over all processes, in rank 0."""
    count = get_world_size()
    if count < 2:
        return input_dict
    with torch.no_grad():
        names = sorted(input_dict)
        values = torch.stack([input_dict[name] for name in names])
        dist.reduce(values, dst=0)
        return dict(zip(names, values / count if average and get_rank() == 0 else values, strict=True))
