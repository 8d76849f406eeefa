"""What the commands of det-ray have in common: the options of a cluster, and how a run ends."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from det_core.cli.output import echo
from det_core.errors import ConfigError

if TYPE_CHECKING:
    from det_ray.folder import RunFolder

__all__ = ["cluster_options", "resumable", "worker_options"]

_OPTIONS = (
    click.option(
        "--output",
        required=True,
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="The folder of the run, on a file system of all machines.",
    ),
    click.option(
        "--address", envvar="RAY_ADDRESS", help="Of a Ray cluster, such as auto, HOST:6379 or ray://HOST:10001."
    ),
    click.option(
        "--workers", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Each has one model."
    ),
    click.option(
        "--cpus-per-worker",
        type=click.FloatRange(0, min_open=True),
        default=1,
        show_default=True,
        metavar="C",
        help="CPU cores of each.",
    ),
    click.option(
        "--gpus-per-worker",
        type=click.FloatRange(0),
        default=0,
        show_default=True,
        metavar="G",
        help="GPUs of each; may be a fraction.",
    ),
    click.option("--trust", is_flag=True, help="Run code that the checkpoint names outside the installed plugins."),
)


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: the options of a run on a cluster."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def worker_options(arguments: Mapping[str, Any], model: str) -> dict[str, Any]:
    """What each worker needs to load the model: `model`, `weights`, `trust`, `device` and `threads`."""
    from det_ray.sources import absolute

    paths = {"model": model, "weights": arguments["weights"]}
    paths = {name: absolute(path) if path and Path(path).exists() else path for name, path in paths.items()}
    device = "cuda" if arguments["gpus_per_worker"] else "cpu"
    threads = max(1, int(arguments["cpus_per_worker"]))
    return {**paths, "trust": arguments["trust"], "device": device, "threads": threads}


@contextmanager
def resumable(folder: "RunFolder") -> Iterator[None]:
    """A run in the folder; Ctrl-C ends it with exit code 130 and the number of blocks that are complete.

    Raises:
        ConfigError: the folder cannot be written.
    """
    from det_ray.runs import state_of

    try:
        yield
    except OSError as error:
        raise ConfigError("--output", "cannot be written", str(error), "the same command goes on") from error
    except KeyboardInterrupt:
        echo(f"Stopped; {state_of(folder)}. The same command goes on.", err=True)
        raise click.exceptions.Exit(130) from None
