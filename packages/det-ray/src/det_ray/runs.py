"""A run of any worker: the blocks of its plan that are not complete yet, given to a cluster."""

from collections.abc import Callable, Mapping
from typing import Any

from det_core.cli.output import echo
from det_core.errors import ConfigError, DataError, DetError

from det_ray.cluster import Resources, connected, run_blocks
from det_ray.folder import RunFolder
from det_ray.plan import Plan
from det_ray.worker import Worker

__all__ = ["complete_run", "state_of"]


def state_of(folder: RunFolder) -> str:
    """How much of a run is done, as text."""
    return f"{len(folder.done()):,} blocks are complete in {folder.path}"


def complete_run(
    folder: RunFolder,
    plan: Plan,
    worker: type[Worker],
    options: Mapping[str, Any],
    need: Resources,
    address: str | None,
    add: Callable[[Mapping[str, Any]], None],
    redo: Callable[[Mapping[str, Any]], bool] = lambda summary: False,
) -> int:
    """Complete all blocks; returns the number of blocks that this took.

    Args:
        folder: of the run, which this process holds.
        plan: the plan in it.
        worker: class of the workers.
        options: what they are built with.
        need: how many, and what each needs.
        address: of a cluster; None to start Ray on this machine.
        add: called with the summary of each block, once, those of earlier runs first.
        redo: whether a block of an earlier run is to be done again.

    Raises:
        ConfigError: a run cannot go on; the message has the reason, and the number of blocks that are complete.
    """
    complete = _add_complete(folder, add, redo)
    left = [block for block in plan.blocks if block.number not in complete]
    if complete:
        rest = f"going on with {len(left):,}" if left else "nothing is predicted again"
        echo(f"{folder.path}: {len(complete):,} of {len(plan.blocks):,} blocks are complete; {rest}", err=True)
    if not left:
        return 0
    from det_core.engine import Display

    try:
        with connected(address, need), Display() as display:
            summaries = run_blocks(left, worker, str(folder.path), options, need)
            for summary in display.track(summaries, "blocks", len(left)):
                _require_visible(folder, summary)
                if summary["block"] not in complete:
                    complete.add(summary["block"])
                    add(summary)
    except DetError as error:
        fix = error.fix or "correct this, and give the same command again"
        raise ConfigError(error.where, error.problem, error.found, f"{fix}; {state_of(folder)}") from error
    if len(complete) < len(plan.blocks):
        problem = f"{len(plan.blocks) - len(complete):,} blocks are missing"
        raise DataError(str(folder.path), problem, fix="give the same command again")
    return len(left)


def _add_complete(
    folder: RunFolder, add: Callable[[Mapping[str, Any]], None], redo: Callable[[Mapping[str, Any]], bool]
) -> set[int]:
    """The blocks of earlier runs; those that are to be done again are removed."""
    complete = set()
    for number in sorted(folder.done()):
        summary = folder.summary(number)
        if redo(summary):
            folder.block(number).unlink()
        else:
            complete.add(number)
            add(summary)
    return complete


def _require_visible(folder: RunFolder, summary: Mapping[str, Any]) -> None:
    if not folder.block(summary["block"]).exists():
        problem = f"{folder.path} is not the same folder on all machines"
        fix = "choose one on a file system that they share"
        raise ConfigError("--output", problem, f"{summary['worker']} wrote into another", fix)
