"""`det zoo convert`: converts a weight file to safetensors."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from det_core.cli.output import echo
from det_core.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["command"]


@click.command("convert")
@click.argument("source", metavar="FILE")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.safetensors",
    help="Where to write; by default FILE with another suffix.",
)
@click.option("--recipe", metavar="NAME", help="Load into the model of this recipe first; all must fit.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def command(source: str, output: Path | None, recipe: str | None, force: bool) -> None:
    """Turn the weights in FILE (.pkl, .pth, or an address) into a safetensors file. No code in FILE is run.

    With --recipe, older names are upgraded, and the state of that model is written; without, the tensors keep
    their names.

    \b
    Example:
      det zoo convert model_final_280758.pkl -o faster_rcnn.safetensors --recipe faster_rcnn_r50_fpn_3x
    """
    if output is None:
        if "://" in source:
            raise click.UsageError("--output FILE.safetensors is required")
        output = Path(source).with_suffix(".safetensors")
    if output.suffix != ".safetensors":
        raise ConfigError("--output", "must end in .safetensors", f"got {output}")
    if output.exists() and not force:
        raise ConfigError(str(output), "is there already", fix="choose another --output, or --force")
    from det_core.engine.checkpoint import write_whole
    from safetensors.torch import save_file

    state, said = _upgraded(source, recipe) if recipe else _as_it_is(source)
    content = {name: tensor.contiguous().clone() for name, tensor in state.items()}
    write_whole(output, lambda temporary: save_file(content, temporary, metadata={"format": "pt"}))
    echo(said)
    echo(f"{len(content)} tensors are in {output}")


def _as_it_is(source: str) -> "tuple[dict[str, Tensor], str]":
    from det_core.weights import read

    state = read(source)
    return state, f"{source}: {len(state)} tensors read; --recipe NAME checks whether they fit a model"


def _upgraded(source: str, name: str) -> "tuple[dict[str, Tensor], str]":
    from det_core import recipes
    from det_core.weights import load_into, read

    from det_inspect.models.fitting import with_hint

    recipe = recipes.load(name)
    model = recipe.build_model()
    state = read(source)
    try:
        report = load_into(model, state, source)
    except WeightsError as error:
        raise with_hint(error, state, model) from error
    return model.state_dict(), f"{report}; fits {recipe.source}"
