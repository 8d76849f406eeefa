"""Processes that train or evaluate together, as `torchrun` starts them.

Small objects are exchanged over gloo, on any device of the models. Each process writes to the store of the group
why it ends, so that the others, whose next collective fails, can name the culprit.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import distributed as dist

from det_core.errors import DetError, TrainingError

__all__ = [
    "broadcast",
    "ends_together",
    "first",
    "gather",
    "local_device",
    "process_group",
    "rank_and_world_size",
]

_T = TypeVar("_T")
_LOST = re.compile(r"gloo|nccl|connection (closed|reset)|timed out waiting|broken pipe|socket", re.IGNORECASE)
_SECONDS_TO_EXPLAIN = 4.0
_stores: list[dist.Store] = []


def rank_and_world_size() -> tuple[int, int]:
    """(rank, world size) of this process in torch.distributed's group; (0, 1) where there is none."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


@contextmanager
def process_group() -> Iterator[tuple[int, int]]:
    """Join the group that `torchrun` describes in the environment; yields (rank, world size).

    Without `torchrun`, or in a group that is there already, it does nothing.
    """
    if _started() == 1 or not dist.is_available() or dist.is_initialized():
        yield rank_and_world_size()
        return
    store, rank, world_size = next(dist.rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE", "1") == "1":
        # The store may be that of the processes before a restart, with their addresses; on one node all count alike.
        store = dist.PrefixStore(f"start/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size, timeout=timedelta(minutes=30))
    _stores.append(dist.PrefixStore("det", store))
    try:
        yield rank, world_size
    finally:
        _stores.clear()
        dist.destroy_process_group()


@contextmanager
def ends_together() -> Iterator[None]:
    """Turn the failure of a collective into a TrainingError that names the process at fault and its error."""
    rank, world_size = rank_and_world_size()
    if world_size == 1 or not _stores:
        yield
        return
    try:
        yield
    except BaseException as error:
        lost = isinstance(error, RuntimeError) and not isinstance(error, DetError) and _LOST.search(str(error))
        message = "lost" if lost else f"{type(error).__name__}: {error}"
        _ignore_store_errors(lambda: _stores[-1].set(f"end/{rank}", message[:2000]))
        if not lost:
            raise
        fix = "what failed there is the cause; start again with --resume to go on from the newest checkpoint"
        found = f"rank {rank} noticed: {str(error).splitlines()[0][:200]}"
        explanation = TrainingError(_culprits(rank, world_size), "ended the training of all processes", found, fix)
        # At once: torchrun ends this process too, perhaps before the error below is printed.
        sys.stderr.write(f"rank {rank}: {explanation}\n")
        sys.stderr.flush()
        raise explanation from error


def _culprits(rank: int, world_size: int) -> str:
    """The processes that failed, each with its error, or that gave no sign of life."""
    others = [other for other in range(world_size) if other != rank]
    ends: dict[int, str] = {}
    deadline = time.monotonic() + _SECONDS_TO_EXPLAIN
    while len(ends) < len(others) and time.monotonic() < deadline:
        for other in others:
            if other not in ends and (end := _ignore_store_errors(partial(_read, f"end/{other}"))) is not None:
                ends[other] = end
        time.sleep(0.05)
    failed = [f"rank {other} ({end})" for other, end in ends.items() if end != "lost"]
    silent = [f"rank {other} (killed, or it hangs)" for other in others if other not in ends]
    return ", ".join(failed or silent) or "another process"


def _read(key: str) -> str | None:
    return _stores[-1].get(key).decode() if _stores[-1].check([key]) else None


def _ignore_store_errors(call: Callable[[], Any]) -> Any:
    """The result of a call to the store; None where the store is gone with the process that held it."""
    try:
        return call()
    except (RuntimeError, ValueError):
        return None


def _started() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_device(name: str | None) -> str | None:
    """The GPU of this process, where `name` leaves the choice and `torchrun` started several; else `name`."""
    local = os.environ.get("LOCAL_RANK")
    if name in (None, "auto", "cuda") and local is not None and torch.cuda.is_available():
        return f"cuda:{int(local) % torch.cuda.device_count()}"
    return name


def gather(value: _T) -> list[_T] | None:
    """The values of all processes, by rank, in rank 0; None in the others. `value` must be picklable."""
    rank, world_size = rank_and_world_size()
    if world_size == 1:
        return [value]
    values: list[_T] | None = [value] * world_size if rank == 0 else None
    dist.gather_object(value, values, dst=0)
    return values


def broadcast(value: _T) -> _T:
    """The value of rank 0, in all processes."""
    if rank_and_world_size()[1] == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def first(call: Callable[[], _T]) -> _T:
    """The result of `call`, made by rank 0 alone, in all processes; a DetError of it is raised in all."""
    if rank_and_world_size()[1] == 1:
        return call()
    result: Any = None
    if rank_and_world_size()[0] == 0:
        try:
            result = call()
        except DetError as error:
            result = error
    result = broadcast(result)
    if isinstance(result, DetError):
        raise result
    return cast(_T, result)
