"""Statistics of batch norms over many batches at once, in place of their moving averages."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from det_core.data import Batch
from det_core.engine.distributed import broadcast, gather, rank_and_world_size
from det_core.engine.evaluate import Precision, autocast, device_of, fixed_seed, in_eval_mode

__all__ = ["estimate_norms", "live_norms"]


def live_norms(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms that keep running statistics; frozen ones do not."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


@torch.no_grad()
def estimate_norms(model: nn.Module, batches: Iterable[Batch], precision: Precision = "fp32") -> None:
    """Set the running statistics of all batch norms to mean and variance of everything they see in `batches`.

    A moving average lags behind the weights and weighs the last batches most (Wu and Johnson, "Rethinking batch in
    BatchNorm", 2021). The norms normalise by each batch's own statistics meanwhile, as in training; all else is in
    evaluation. One without inputs keeps its statistics, and if reading the batches fails, all do. Modes, counters
    and torch's random numbers are left as they were in any case.

    Args:
        model: a `Model`, on the device to compute on.
        batches: batches of images with targets, for the training forward pass.
        precision: "bf16" runs the forward pass under autocast.
    """
    norms = live_norms(model)
    if not norms:
        return
    device = device_of(model)
    populations = [Population() for _ in norms]
    with ExitStack() as stack:
        for context in (in_eval_mode(model), fixed_seed(device), _restored_statistics(norms)):
            stack.enter_context(context)
        for norm, population in zip(norms, populations, strict=True):
            norm.train()
            stack.callback(norm.register_forward_pre_hook(population.watch).remove)
        for batch in batches:
            moved = batch.to(device, non_blocking=True)
            with autocast(device, precision):
                model(moved.images, moved.targets)
    for norm, population in zip(norms, _of_all_processes(populations, device), strict=True):
        population.give_to(norm)


class Population:
    """Mean and variance of each channel over all batches, merged batch by batch (Chan et al., 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | None = None
        self.squares: Tensor | None = None  # of the distances from the mean, summed

    def watch(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Add the input of a norm, (B, C, ...)."""
        values = inputs[0].float().transpose(0, 1).flatten(1)
        if values.shape[1]:
            variance, mean = torch.var_mean(values, dim=1, correction=0)
            self.add(values.shape[1], mean, variance * values.shape[1])

    def add(self, count: int, mean: Tensor, squares: Tensor) -> None:
        """Take in the statistics of `count` more."""
        if self.mean is not None and self.squares is not None:
            total, apart = self.count + count, mean - self.mean
            squares = squares + self.squares + apart.square() * (self.count * count / total)
            mean = self.mean + apart * (count / total)
        self.count, self.mean, self.squares = self.count + count, mean, squares

    def give_to(self, norm: _BatchNorm) -> None:
        """Write the statistics into a norm; the variance is that of a sample, as in all running statistics."""
        if self.mean is None or self.squares is None or norm.running_mean is None or norm.running_var is None:
            return
        norm.running_mean.copy_(self.mean)
        norm.running_var.copy_(self.squares / max(self.count - 1, 1))


def _of_all_processes(populations: Sequence[Population], device: torch.device) -> Sequence[Population]:
    """The populations of all processes, each merged over them; those of one process as they are."""
    if rank_and_world_size()[1] == 1:
        return populations
    every = gather([(each.count, each.mean, each.squares) for each in populations]) or []
    merged = [Population() for _ in populations]
    for process in every:
        for population, (count, mean, squares) in zip(merged, process, strict=True):
            if mean is not None and squares is not None:
                population.add(count, mean.to(device), squares.to(device))
    return broadcast(merged)


@contextmanager
def _restored_statistics(norms: Iterable[_BatchNorm]) -> Iterator[None]:
    """Give the norms their running statistics and counters back at the end."""
    saved = [{name: buffer.clone() for name, buffer in norm.named_buffers(recurse=False)} for norm in norms]
    try:
        yield
    finally:
        for norm, buffers in zip(norms, saved, strict=True):
            for name, buffer in norm.named_buffers(recurse=False):
                buffer.copy_(buffers[name])
