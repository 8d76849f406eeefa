"""`det start`: a recipe for a folder of annotated images; `det data split`; and the first step of `det train DATA`."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from det_core.cli.output import echo
from det_core.errors import ConfigError

from det_inspect.counting import counted
from det_inspect.start.tree import Tree

if TYPE_CHECKING:
    from det_inspect.start.start import Options, Started

__all__ = ["command", "recipe_for", "split"]

_FORMATS = ("coco", "yolo", "voc", "cvat", "label-studio", "dota", "csv", "masks")
_NAMES = ("form", "task", "flip", "masks", "val", "test", "seed", "weights")


def _reading_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of reading and dividing a folder, which the function gets from `options()`."""
    choices = (
        click.option("--format", "form", type=click.Choice(_FORMATS), help="The format, where there are several."),
        click.option("--task", type=click.Choice(["detect", "segment", "pose", "rotated"]), help="What to predict."),
        click.option("--flip", type=click.Choice(["none", "horizontal", "both"]), help="How to mirror pictures."),
        click.option(
            "--masks",
            type=click.Choice(["objects", "binary", "instances", "classes"]),
            help="Meaning of the numbers in masks.",
        ),
        click.option(
            "--val", type=float, default=0.2, show_default=True, help="Share of validation, if not split yet."
        ),
        click.option("--test", type=float, default=0.0, show_default=True, help="Share of test, if not split yet."),
        click.option("--seed", type=int, default=0, show_default=True, help="Seed of the split."),
        click.option(
            "--weights",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="ImageNet weights of MobileNetV2 to begin with, if they cannot be downloaded.",
        ),
    )

    @functools.wraps(function)
    def with_options(**values: Any) -> Any:
        reading = {name: values.pop(name) for name in _NAMES}
        return function(options=functools.partial(_options, **reading), **values)

    decorated: Callable[..., Any] = with_options
    for choice in reversed(choices):
        decorated = choice(decorated)
    return decorated


def _options(
    form: str | None = None,
    task: str | None = None,
    flip: str | None = None,
    masks: str | None = None,
    val: float = 0.2,
    test: float = 0.0,
    seed: int = 0,
    weights: Path | None = None,
) -> "Options":
    from det_inspect.cli.data import track
    from det_inspect.start.asking import Answers
    from det_inspect.start.split import Shares
    from det_inspect.start.start import Options

    answers = Answers({"--task": task, "--flip": flip, "--masks": masks, "--format": form})
    return Options(form, Shares(val, test), seed, answers, weights, track)


@click.command(short_help="Write a recipe for a folder of annotated pictures.")
@click.argument("data", type=click.Path(path_type=Path), metavar="DATA")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("recipe.yaml"),
    show_default=True,
    metavar="FILE",
    help="The recipe to write.",
)
@click.option("--overwrite", is_flag=True, help="Replace the recipe if there is one.")
@_reading_options
def command(data: Path, output: Path, overwrite: bool, options: Callable[[], "Options"]) -> None:
    """Recognize the annotations in DATA, split the pictures if necessary, and write a commented recipe.

    DATA is a folder or a file of annotations: COCO (also exports of Roboflow and CVAT), YOLO with data.yaml, PASCAL VOC
    or LabelImg, CVAT XML, Label Studio, DOTA, CSV with a box in each line, or a folder of masks. Copies and nearly
    equal pictures stay in one split. The annotations of the splits are written beside the recipe, unless DATA has them
    as COCO files. The pictures stay where they are.

    \b
    Examples:
      det start photos
      det start photos/data.yaml --output cells.yaml
      det train cells.yaml
    """
    if output.exists() and not overwrite:
        raise ConfigError(str(output), "exists already", fix="give another --output, or --overwrite to replace it")
    tree = Tree(data)
    from det_inspect.start.start import start

    _report(start(tree, output, options()))
    echo(f"Next: det train {output}")


@click.command(short_help="Split pictures into training, validation and test.")
@click.argument("data", type=click.Path(path_type=Path), metavar="DATA")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="The folder to write into."
)
@_reading_options
def split(data: Path, output: Path, options: Callable[[], "Options"]) -> None:
    """Split the annotated pictures in DATA by a seed, and write COCO files into a folder.

    Copies and nearly equal pictures stay in one split; a split that is there already is kept. DATA and the options
    are those of det start.

    \b
    Example:
      det data split photos --val 0.15 --test 0.15 -o splits
    """
    tree = Tree(data)
    from det_inspect.start.start import gathered_splits, write_splits

    gathered, recognized = gathered_splits(tree, options())
    for note in gathered.notes:
        echo(f"note: {note}", err=True)
    echo(f"{recognized.title} in {data}")
    for name, file in write_splits(gathered, output, "instances").items():
        echo(f"{name}: {_sizes(len(gathered.images[name]), len(gathered.objects[name]))}, in {file}")
    echo(f"Pictures are named from {gathered.root}.")


def recipe_for(data: str, folder: Path, resume: bool, overwrite: bool) -> str:
    """The recipe that `det train DATA` trains: that of an earlier run in `folder`, or a new one."""
    file = folder / "recipe.yaml"
    if file.exists() and not overwrite:
        echo(f"{file} was written by an earlier det train {data}; --overwrite writes it again", err=True)
        return str(file)
    tree = Tree(Path(data))
    from det_inspect.start.start import start

    _report(start(tree, file, _options()))
    return str(file)


def _sizes(images: int, objects: int) -> str:
    return f"{counted(images, 'picture')}, {counted(objects, 'object')}"


def _report(started: "Started") -> None:
    for note in started.notes:
        echo(f"note: {note}", err=True)
    names = ", ".join(started.classes[:8]) + (", ..." if len(started.classes) > 8 else "")
    echo(f"{started.form}; task {started.task}; {counted(len(started.classes), 'class', 'classes')}: {names}")
    for split_name, (images, objects) in started.counts.items():
        echo(f"  {split_name}: {_sizes(images, objects)}")
    steps = started.recipe.tree["train"]["steps"]
    echo(f"{started.file} trains {steps} steps; its comments give the reason for each value.")
