"""Several processes for one training, as `detectron2.engine.launch`."""

import socket
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

__all__ = ["DEFAULT_TIMEOUT", "launch"]

DEFAULT_TIMEOUT = timedelta(minutes=30)


def launch(
    main_func: Callable[..., Any],
    num_gpus_per_machine: int,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str | None = None,
    args: tuple[Any, ...] = (),
    timeout: timedelta = DEFAULT_TIMEOUT,
) -> None:
    """Call a function in one process for each GPU, all joined; with one process in all, call it here.

    Args:
        main_func: function to call with `args` in each process.
        num_gpus_per_machine: number of processes per machine; without GPUs they use the CPU and gloo.
        num_machines: number of machines.
        machine_rank: rank of this machine, from 0.
        dist_url: rendezvous address, such as "tcp://127.0.0.1:8686"; "auto" uses a free port (one machine only).
        args: positional arguments of `main_func`.
        timeout: timeout of collective operations.
    """
    world_size = num_machines * num_gpus_per_machine
    if world_size <= 1:
        main_func(*args)
        return
    if dist_url == "auto":
        assert num_machines == 1, "dist_url=auto not supported in multi-machine jobs."
        dist_url = f"tcp://127.0.0.1:{_free_port()}"
    mp.spawn(
        _worker,
        nprocs=num_gpus_per_machine,
        args=(main_func, world_size, num_gpus_per_machine, machine_rank, dist_url, args, timeout),
        daemon=False,
    )


def _free_port() -> int:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as place:
        place.bind(("", 0))
        return int(place.getsockname()[1])


def _worker(
    local_rank: int,
    main_func: Callable[..., Any],
    world_size: int,
    per_machine: int,
    machine_rank: int,
    dist_url: str,
    args: tuple[Any, ...],
    timeout: timedelta,
) -> None:
    gpus = torch.cuda.is_available()
    if gpus:
        assert per_machine <= torch.cuda.device_count()
    dist.init_process_group(
        backend="NCCL" if gpus else "GLOO",
        init_method=dist_url,
        world_size=world_size,
        rank=machine_rank * per_machine + local_rank,
        timeout=timeout,
    )
    if gpus:
        torch.cuda.set_device(local_rank)
    try:
        dist.barrier()
        main_func(*args)
    finally:
        dist.destroy_process_group()
