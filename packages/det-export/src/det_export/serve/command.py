"""`det serve`: models behind HTTP."""

from typing import Any

import click
from det_core.errors import ConfigError, MissingExtraError

__all__ = ["command"]


@click.command(short_help="Answer requests with the predictions of models.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen; others than this machine's need a token."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for any that is free.")
@click.option(
    "--batch",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Most pictures at once; 1 turns batching off.",
)
@click.option(
    "--runtime",
    type=click.Choice(["eager", "onnx", "aoti"]),
    help="What computes; by default eager, or the runtime of an exported file.",
)
@click.option(
    "--token",
    envvar="DET_SERVE_TOKEN",
    default="",
    metavar="TEXT",
    help="Requests need it. Better in the environment, DET_SERVE_TOKEN: arguments are visible to other users.",
)
@click.option(
    "--queue",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    metavar="N",
    help="Most pictures that wait, of each model.",
)
@click.option(
    "--max-upload",
    type=click.FloatRange(0, min_open=True),
    default=32,
    show_default=True,
    metavar="MIB",
    help="Largest body, and largest file at a URL.",
)
@click.option("--max-pixels", type=click.IntRange(1), default=50_000_000, show_default=True, help="Largest picture.")
@click.option("--urls", is_flag=True, help="Take URLs of pictures, at public addresses.")
@click.option("--private-urls", is_flag=True, help="Take them at loopback and private addresses, too.")
@click.option("--device", help="cpu, cuda, mps ...; by default the best there is.")
@click.option("--trust", is_flag=True, help="Run code that a checkpoint or file holds or names.")
def command(**options: Any) -> None:
    """Load each MODEL (a checkpoint, the folder of a run, an exported file or a recipe) and answer HTTP requests.

    NAME=MODEL names it; by default its name is that of the file or folder. /predict is the first model, /predict/NAME
    each. A file that changes is loaded again, without a lost request. / is a page to try it, /docs lists the routes.

    \b
    Examples:
      det serve runs/cells
      curl --data-binary @photo.jpg http://127.0.0.1:8000/predict
      det serve cells=runs/cells nuclei.onnx --batch 8 --port 9000
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        fix = "pip install det-export[serve] --find-links WHEELS"
        raise MissingExtraError("det serve", f"needs {error.name}, which is not installed", fix=fix) from error
    _serve(**options)


def _serve(
    models: tuple[str, ...],
    host: str,
    port: int,
    batch: int,
    runtime: str | None,
    token: str,
    queue: int,
    max_upload: float,
    max_pixels: int,
    urls: bool,
    private_urls: bool,
    device: str | None,
    trust: bool,
) -> None:
    from functools import partial

    from det_core.cli.listening import run_until_signal

    from det_export.serve.loading import file_of, loader, sources_by_name
    from det_export.serve.metrics import Metrics
    from det_export.serve.served import ServedModel
    from det_export.serve.server import Server, is_loopback
    from det_export.serve.settings import Limits
    from det_export.serve.urls import is_public

    if not token and not is_loopback(host):
        fix = "set DET_SERVE_TOKEN to a long random text, or give --token"
        raise ConfigError("--host", f"{host} can be reached from other machines, and there is no token", fix=fix)
    limits = Limits(queue=queue, upload_bytes=int(max_upload * 2**20), pixels=max_pixels)
    metrics = Metrics()
    served = {
        name: ServedModel(
            name, loader(source, runtime, batch, device, trust), partial(file_of, source), batch, limits, metrics
        )
        for name, source in sources_by_name(models).items()
    }
    allowed = (lambda address: True) if private_urls else is_public if urls else None
    run_until_signal(Server(served, (host, port), token, limits, metrics, allowed))
