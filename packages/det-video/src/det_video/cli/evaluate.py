"""`det video eval`: metrics of predicted tracks against ground truth."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from det_core.cli.output import echo
from det_core.errors import DataError

if TYPE_CHECKING:
    from det_video.mot import Tracks

__all__ = ["command"]

_COUNTS = ("IDSW", "Frag", "FP", "FN", "MT", "ML")


@click.command(short_help="Compute HOTA, MOTA and IDF1 of tracks.")
@click.argument("ground_truth", type=click.Path(path_type=Path), metavar="GROUND_TRUTH")
@click.argument("predictions", type=click.Path(path_type=Path), metavar="PREDICTIONS")
@click.option(
    "--iou", type=click.FloatRange(0, 1, min_open=True), default=0.5, show_default=True, help="For MOTA, IDF1."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(ground_truth: Path, predictions: Path, iou: float, as_json: bool) -> None:
    """Compute HOTA, MOTA and IDF1 of tracks.

    Both are files of the MOTChallenge format, or folders with files of the same names, one for each video, whose
    counts are added. In ground truth, lines whose seventh number is 0 are ignored.
    """
    from det_video.metrics import mot_metrics
    from det_video.mot import concatenate

    metrics = mot_metrics(*concatenate(_pairs(ground_truth, predictions)), iou)
    if as_json:
        echo(json.dumps(metrics, indent=1))
        return
    for name, value in metrics.items():
        echo(f"{name:5} {value:.0f}" if name in _COUNTS else f"{name:5} {100 * value:.2f}")


def _pairs(ground_truth: Path, predictions: Path) -> "list[tuple[Tracks, Tracks]]":
    from det_video.mot import read_mot

    if not ground_truth.is_dir():
        files = [(ground_truth, predictions)]
    else:
        files = [(each, predictions / each.name) for each in sorted(ground_truth.glob("*.txt"))]
        if not files:
            raise DataError(str(ground_truth), "the folder holds no .txt file", fix="give MOT files of one name each")
    missing = [str(path) for pair in files for path in pair if not path.is_file()]
    if missing:
        raise DataError(missing[0], "there is no such file", f"{', '.join(missing[1:])} neither" * (len(missing) > 1))
    return [(read_mot(first, ground_truth=True), read_mot(second)) for first, second in files]
