"""Random exchange of batch rows between the processes of a training."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F

from det_core.ops.global_batch import current_group, first_generator

__all__ = ["shuffled"]


def shuffled(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function(x)`, computed on rows that are randomly exchanged between all processes.

    The regions of one image are similar, and batch norms reveal the image by their statistics; after a shuffle these
    are over many images (Wu and Johnson, "Rethinking batch in BatchNorm", 2021). All processes must call this together.
    In a single process it is `function(x)`: statistics do not depend on the order of the rows.

    Args:
        function: maps (n, ...) to (n, ...), row by row except for batch statistics; n may be 0.
        x: rows of this process, (n, ...).

    Returns:
        The outputs for the rows of `x`, in their order.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return function(x)
    group = current_group()
    rank, processes = dist.get_rank(group), dist.get_world_size(group)
    counts = _counts(x, group)
    order = torch.randperm(sum(counts), device=x.device, generator=first_generator())
    dist.broadcast(order, group=group, group_src=0)
    shares = order.tensor_split(processes)
    done = function(_gather(x, counts, group)[shares[rank]])
    all_done = _gather(done, [len(share) for share in shares], group)
    start = sum(counts[:rank])
    return all_done[order.argsort()[start : start + counts[rank]]]


def _counts(x: Tensor, group: Any) -> list[int]:
    """Number of rows of each process."""
    local = torch.tensor([len(x)], device=x.device)
    counts = [torch.empty_like(local) for _ in range(dist.get_world_size(group))]
    dist.all_gather(counts, local, group=group)
    return [int(count) for count in counts]


def _gather(x: Tensor, counts: Sequence[int], group: Any) -> Tensor:
    """The rows of all processes, concatenated."""
    gathered: Tensor = _Gather.apply(x, list(counts), group)
    return gathered


class _Gather(torch.autograd.Function):
    """The rows of all processes; the gradients of all processes for the local rows."""

    @staticmethod
    def forward(context: Any, x: Tensor, counts: list[int], group: Any) -> Tensor:
        context.counts, context.group = counts, group
        padded = F.pad(x, [0, 0] * (x.ndim - 1) + [0, max(counts) - len(x)]).contiguous()
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded, group=group)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = gradient.contiguous().clone()
        dist.all_reduce(total, group=context.group)
        return total.split(context.counts)[dist.get_rank(context.group)], None, None
