"""Global state of a training step over all processes: random numbers per image, and summed counts.

A training step of many processes equals one of a single process on all images if each image has the same random numbers
and each loss the same normalizer. Models call `image_rand` and `normalizer` for these; the training loop declares its
images by `global_batch`. Outside of that context both are local, so that evaluation may be uneven.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

__all__ = [
    "current_group",
    "first_generator",
    "global_batch",
    "global_count",
    "image_rand",
    "normalizer",
    "shares",
]


@dataclass(frozen=True)
class _GlobalBatch:
    generators: Sequence[torch.Generator]
    group: dist.ProcessGroup | None
    parts: int


_current: ContextVar[_GlobalBatch | None] = ContextVar("global_batch", default=None)


@contextmanager
def global_batch(
    keys: Sequence[Sequence[int]],
    device: torch.device,
    group: "dist.ProcessGroup | None" = None,
    parts: int = 1,
) -> Iterator[None]:
    """Compute losses of a part of a global batch.

    Args:
        keys: non-negative numbers that identify each image of this process, and determine its random numbers.
        device: device of the random numbers.
        group: processes of the other parts, all of which must compute their losses; None for a single process.
        parts: number of equal parts with averaged gradients per process, of which this is one.
    """
    seeds = [int(np.random.SeedSequence((*key, 2)).generate_state(1, np.uint64)[0] >> np.uint64(1)) for key in keys]
    generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
    token = _current.set(_GlobalBatch(generators, group, parts))
    try:
        yield
    finally:
        _current.reset(token)


def image_rand(images: Sequence[int], count: int, device: torch.device) -> Tensor:
    """Uniform random numbers in [0, 1), float32 (len(images), count), for the images of these rows of the batch.

    Within `global_batch` each row is drawn from the generator of its image, otherwise all from torch's global one. Rows
    beyond the batch belong to further views of its images, in the same order.
    """
    current = _current.get()
    if current is None:
        return torch.rand((len(images), count), device=device)
    generators = current.generators
    rows = [torch.rand(count, generator=generators[image % len(generators)], device=device) for image in images]
    return torch.stack(rows) if rows else torch.zeros((0, count), device=device)


def current_group() -> "dist.ProcessGroup | None":
    """The processes of the global batch; None for the default group."""
    current = _current.get()
    return None if current is None else current.group


def first_generator() -> torch.Generator | None:
    """Generator of this process's first image; None, torch's global one, outside of a global batch."""
    current = _current.get()
    return current.generators[0] if current is not None and current.generators else None


def shares() -> int:
    """The number of equal parts of the global batch, of which this process computes one; 1 outside of one."""
    current = _current.get()
    return 1 if current is None else _world_size(current) * current.parts


def _world_size(current: _GlobalBatch) -> int:
    return 1 if current.group is None else dist.get_world_size(current.group)


def global_count(count: Tensor | int, like: Tensor) -> Tensor | int:
    """A scalar count summed over the global batch, float32 on the device of `like`; alone `count` itself.

    All processes must call this, in the same order. Consecutive parts of a process count as this one.
    """
    current = _current.get()
    if current is None or shares() == 1:
        return count
    total = torch.as_tensor(count, dtype=torch.float32, device=like.device).detach().clone()
    if _world_size(current) > 1:
        dist.all_reduce(total, group=current.group)
    return total * current.parts


def normalizer(count: Tensor | int, like: Tensor) -> Tensor | float:
    """Normalizer of a sum over `count` rows: the mean count over all shares, of at least 1 in total.

    Gradients are averaged over processes: sums divided by this become the mean over all rows of all processes.
    """
    total = global_count(count, like)
    least = total.clamp(min=1) if isinstance(total, Tensor) else max(total, 1)
    return least if shares() == 1 else least / shares()
