"""`det view`: data sets, predictions and runs in a browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from det_core.errors import ConfigError, MissingExtraError

from det_inspect.cli.data_sources import Sources, file_options

if TYPE_CHECKING:
    from det_inspect.view.session import Session

__all__ = ["command"]

_PLACE = click.Path(file_okay=False, path_type=Path)


@click.command(short_help="Browse pictures, predictions and runs in a browser.")
@click.argument("names", nargs=-1, metavar="[DATA] [PREDICTIONS]...")
@file_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; others than loopback are open.")
@click.option("--port", type=click.IntRange(0, 65535), default=8010, show_default=True, help="0 for any that is free.")
@click.option("--cache", type=_PLACE, metavar="DIR", help="For thumbnails; by default view in det's cache folder.")
@click.option("-o", "--output", type=_PLACE, default=".", help="For corrected copies and exported pictures.")
@click.option("--pixels", is_flag=True, help="Decode all pictures to search for defects, as det data check does.")
@click.option("--device", help="For predictions: cpu, cuda, mps ...; by default the best there is.")
@click.option("--no-predict", is_flag=True, help="Show the curves of runs without predicting, such as during training.")
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser of this machine.")
def command(names: tuple[str, ...], sources: Sources, **options: Any) -> None:
    """Serve a page with the pictures of a data set, their objects and their defects.

    DATA is an annotation file in COCO's format or a recipe; other formats are named by the options of
    det data check. The folder of images is that of --images, else `images` beside the file, else the file's own.
    Predictions are shown beside it: files of COCO results, runs, checkpoints. A run alone shows its data.val.

    \b
    Examples:
      det view instances_val.json --images photos
      det view faster_rcnn_r50_fpn_1x --split val
      det view instances_val.json first.json second.json
      det view runs/cells
      det view --format yolo --images photos --classes classes.txt
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        fix = "pip install det-inspect[view] --find-links WHEELS"
        raise MissingExtraError("det view", f"needs {error.name}, which is not installed", fix=fix) from error
    from det_core.weights.sources import cache_folder

    cache = options.pop("cache") or cache_folder() / "view"
    settings = {name: options.pop(name) for name in ("output", "pixels", "device", "no_predict")}
    _serve(session_of(names, sources, cache, **settings), **options)


def session_of(
    names: tuple[str, ...],
    sources: Sources,
    cache: Path,
    output: Path = Path(),
    pixels: bool = False,
    device: str | None = None,
    no_predict: bool = False,
) -> "Session":
    """What a command line names.

    Raises:
        ConfigError: it names nothing, or several recipes.
    """
    from det_inspect.view.picture_set import read_set
    from det_inspect.view.predictions import read_predictions
    from det_inspect.view.predictor import ModelPredictions
    from det_inspect.view.session import Session
    from det_inspect.view.sources import sources_with

    view_sources, results, models = sources_with(names, sources)
    titles = view_sources.titles()
    if not titles:
        fix = "name an annotation file or a recipe, such as det view instances_val.json --images photos"
        raise ConfigError("det view", "no data set is named", fix=fix)
    pictures = read_set(view_sources.listings())
    predicted = [] if no_predict else models
    runs = [path for path in models if path.is_dir()]
    predictions = [
        *(read_predictions(path, pictures) for path in results),
        *(
            ModelPredictions(path.name, {}, source=str(path), pictures=pictures, cache=cache, device=device)
            for path in predicted
        ),
    ]
    return Session(" and ".join(titles), pictures, cache, predictions, runs, output, pixels)


def _serve(session: "Session", host: str, port: int, opens: bool) -> None:
    from det_core.cli.listening import run_until_signal

    from det_inspect.view.server import Server

    server = Server(session, host, port)
    if opens:
        import webbrowser

        webbrowser.open(server.url)
    run_until_signal(server)
