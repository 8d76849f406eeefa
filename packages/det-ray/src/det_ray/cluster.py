"""Ray: a cluster, or processes of this machine, and a pool of workers that blocks are given to."""

import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from det_core.errors import ConfigError

from det_ray.plan import Block
from det_ray.worker import Worker

__all__ = ["Resources", "accepted", "connected", "run_blocks"]

_OBJECT_STORE = 300 * 2**20  # bytes; images never pass through it
_MOST_TASKS = 10_000  # of Ray; beyond, a task is several blocks
_STARTS = 3  # a busy machine takes more than the half minute that Ray allows its processes

_SECONDS_OF_A_BLOCK = 7 * 24 * 3600.0  # after which Ray Data takes a run for stuck


@dataclass(frozen=True)
class Resources:
    """What the workers need.

    Attributes:
        workers: number of workers.
        cpus: CPU cores of each.
        gpus: GPUs of each; may be a fraction.
    """

    workers: int = 1
    cpus: float = 1
    gpus: float = 0


@contextmanager
def connected(address: str | None, need: Resources) -> Iterator[None]:
    """Connect to the cluster at `address`, or start Ray on this machine, whose processes end with the context.

    Raises:
        ConfigError: there is no cluster at the address, or this machine has too few GPUs.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray would give workers less of a shared machine
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else it prints about objects of Ray Data
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():  # by the program that calls this
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {
            "address": "local",
            "num_cpus": max(os.cpu_count() or 1, round(need.workers * need.cpus)),
            "object_store_memory": _OBJECT_STORE,
            "include_dashboard": False,
        }
    try:
        _require_reachable(address)
        _start(options if address is None else {"address": address} | options)
    except Exception as error:
        where, fix = ("--address", "check it, and that the cluster runs: ray status --address ADDRESS")
        if address is None:
            where, fix = "Ray", "see the newest session_* in /tmp/ray for its logs"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            where, f"there is no cluster at {address}" if address else "cannot start", reason, fix
        ) from error
    try:
        there = ray.cluster_resources().get("GPU", 0)
        if address is None and need.gpus > there:
            fix = "leave out --gpus-per-worker to predict on the CPU"
            raise ConfigError("--gpus-per-worker", f"this machine has {there:g} GPUs", f"got {need.gpus:g}", fix)
        yield
    finally:
        ray.shutdown()


def _require_reachable(address: str | None) -> None:
    """OSError or OverflowError where nothing listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _start(options: Mapping[str, Any]) -> None:
    """Start Ray or connect to it; a start that takes too long is tried again."""
    import ray

    for start in range(_STARTS):
        try:
            with _quiet():
                ray.init(**options)
        except Exception as error:
            ray.shutdown()
            if options["address"] != "local" or "timed out" not in str(error) or start == _STARTS - 1:
                raise
        else:
            return


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines that Ray logs while it starts."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def run_blocks(
    blocks: Sequence[Block], worker: type[Worker], folder: str, options: Mapping[str, Any], need: Resources
) -> Iterator[dict[str, Any]]:
    """The summary of each block, as they are completed, in any order; Ray Data repeats those of workers that die.

    Raises:
        ConfigError: a worker reports a fault that concerns the whole run.
    """
    import ray.data
    import ray.exceptions

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    if hasattr(context, "execution_no_progress_timeout_s"):  # half an hour, which a tar file may take
        context.execution_no_progress_timeout_s = _SECONDS_OF_A_BLOCK
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = [{"number": block.number, "first": block.first, "count": block.count} for block in blocks]
    tasks = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MOST_TASKS))
    answers = tasks.map_batches(
        worker,
        fn_constructor_kwargs={"folder": folder, "options": dict(options)},
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(need.workers, len(rows))),
        num_cpus=need.cpus,
        num_gpus=need.gpus or None,
    )
    try:
        for row in answers.iter_rows():
            yield accepted(row["summary"])
    except ray.exceptions.RayError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise ConfigError("Ray", "ends the run", reason, "see the logs of the cluster, in /tmp/ray") from error


def accepted(answer: str) -> dict[str, Any]:
    """The summary that a worker returned.

    Raises:
        ConfigError: it is a fault that concerns the whole run.
    """
    summary: dict[str, Any] = json.loads(answer)
    if "fault" in summary:
        raise ConfigError("det ray", "a worker cannot go on", summary["fault"])
    return summary
