"""Commands for results: drawings, textures, and dumps of older versions."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from det_densepose.cli.common import PATH, Command, found_pictures, read_atlas, results_of

if TYPE_CHECKING:
    from det_densepose.visual.drawings import Drawing

__all__ = ["query", "show", "texture"]

DRAWINGS = ("segm", "u", "v", "contour", "texture", "vertex", "cse_texture", "bbox")


def _drawings(names: str, atlas: Path | None, bodies: Path | None) -> "list[Drawing]":
    """The drawings that a list of names, with commas, asks for."""
    import numpy as np
    from PIL import Image

    from det_densepose.bodies.published import BodyFolder
    from det_densepose.visual import drawings as d

    drawings: list[Drawing] = []
    folder = BodyFolder(bodies)
    for name in (each.strip() for each in names.split(",")):
        if name not in DRAWINGS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(DRAWINGS)}", param_hint="--draw")
        if name in ("texture", "cse_texture") and atlas is None:
            raise click.UsageError(f"{name} needs --atlas")
        if name == "cse_texture":
            assert atlas is not None
            files = sorted(atlas.glob("*.png")) if atlas.is_dir() else [atlas]
            textures = {file.stem: np.asarray(Image.open(file).convert("RGB")) for file in files}
            drawings.append(d.VertexTextureDrawing(textures, folder.body))
            continue
        makers: dict[str, Any] = {
            "segm": d.PartDrawing,
            "u": lambda: d.UVDrawing("u"),
            "v": lambda: d.UVDrawing("v"),
            "contour": d.ContourDrawing,
            "texture": lambda: d.TextureDrawing(read_atlas(atlas)),  # type: ignore[arg-type]
            "vertex": lambda: d.VertexDrawing(folder.body),
            "bbox": d.BoxDrawing,
        }
        drawings.append(makers[name]())
    return drawings


@click.command(cls=Command)
@click.argument("pictures", nargs=-1, required=True, type=PATH)
@click.option("--model", required=True, metavar="MODEL", help="A checkpoint, an exported model, or a recipe's name.")
@click.option("--output", required=True, type=PATH, metavar="DIR", help="Where the drawings are written.")
@click.option(
    "--draw",
    "names",
    multiple=True,
    default=("segm,bbox",),
    show_default=True,
    metavar="NAMES",
    help=f"Some of {', '.join(DRAWINGS)}, on one picture; may be repeated, for one picture each.",
)
@click.option(
    "--atlas", type=PATH, help="texture: a picture of 6 x 4 tiles; cse_texture: MESH.png, or a folder of such."
)
@click.option("--bodies", type=PATH, metavar="DIR", help="The folder of bodies, for vertex and cse_texture.")
@click.option("--min-score", default=0.8, show_default=True, help="Objects of a lower score are left out.")
@click.option("--colored", is_flag=True, help="Keep the colors of the picture.")
def show(
    pictures: tuple[Path, ...],
    model: str,
    output: Path,
    names: tuple[str, ...],
    atlas: Path | None,
    bodies: Path | None,
    min_score: float,
    colored: bool,
) -> None:
    """Draw the predictions of MODEL on PICTURES, files or folders.

    Example:
      det densepose show people/ --model runs/people --output drawn --draw segm,bbox --draw contour --draw u
    """
    from PIL import Image

    from det_densepose.results.access import persons
    from det_densepose.visual.drawings import draw

    drawings_by_name = {each: _drawings(each, atlas, bodies) for each in names}
    files = found_pictures(pictures)
    output.mkdir(parents=True, exist_ok=True)
    for result in results_of(model, files):
        image = result.image.permute(1, 2, 0).numpy()
        scores = [score for score in result.detections.scores.tolist() if score >= min_score]
        people = persons(result, min_score)
        stem = result.path.stem if result.path is not None else "image"
        for each, drawings in drawings_by_name.items():
            suffix = f".{each.replace(',', '_')}" if len(drawings_by_name) > 1 else ""
            file = output / f"{stem}{suffix}.png"
            Image.fromarray(draw(image, people, drawings, scores, colored)).save(file)
            click.echo(f"{file}: {len(people)} shown")


@click.command(cls=Command)
@click.argument("pictures", nargs=-1, required=True, type=PATH)
@click.option("--model", required=True, metavar="MODEL", help="A checkpoint, an exported model, or a recipe's name.")
@click.option("--output", required=True, type=PATH, help="The atlas to write, a PNG; with --put, a folder.")
@click.option("--put", type=PATH, metavar="ATLAS", help="Put this atlas onto the persons instead.")
@click.option("--person", default=0, show_default=True, help="Which person of each picture, the best is 0.")
@click.option("--side", default=200, show_default=True, help="Pixels of a tile of the atlas.")
@click.option("--min-score", default=0.8, show_default=True, help="Objects of a lower score are left out.")
def texture(
    pictures: tuple[Path, ...], model: str, output: Path, put: Path | None, person: int, side: int, min_score: float
) -> None:
    """Take a person's texture out of PICTURES into an atlas, or put an atlas onto the persons in them."""
    from PIL import Image

    from det_densepose.render.textures import join_atlas
    from det_densepose.results.access import persons
    from det_densepose.results.conversion import ChartResult
    from det_densepose.visual.drawings import TextureDrawing, draw
    from det_densepose.visual.textures import take_texture

    files = found_pictures(pictures)
    atlas = None if put is None else read_atlas(put)
    views = []
    if atlas is not None:
        output.mkdir(parents=True, exist_ok=True)
    for result in results_of(model, files):
        people, image = persons(result, min_score), result.image.permute(1, 2, 0).numpy()
        if atlas is not None:
            file = output / f"{result.path.stem if result.path else 'image'}.png"
            Image.fromarray(draw(image, people, [TextureDrawing(atlas)], colored=True)).save(file)
            click.echo(str(file))
        elif person < len(people):
            each = people[person]
            if not isinstance(each, ChartResult):
                raise click.ClickException("this model predicts vertices; an atlas needs one that predicts charts")
            views.append((image, each))
    if atlas is None:
        if not views:
            raise click.ClickException(f"no picture shows a person number {person} of a score of {min_score:g}")
        Image.fromarray(join_atlas(take_texture(views, side))).save(output)
        click.echo(f"{output}: from {len(views)} of {len(files)} pictures")


@click.command(cls=Command)
@click.argument("dump", type=PATH)
@click.option(
    "--select",
    "selectors",
    multiple=True,
    metavar="FIELD[:TYPE]=VALUE",
    help="Objects with this value, such as file_name=a.jpg, or in this range, such as score:float=0.9-1.",
)
@click.option("--save", "folder", type=PATH, metavar="DIR", help="Write labels, u and v as npz, one file an image.")
def query(dump: Path, selectors: tuple[str, ...], folder: Path | None) -> None:
    """List what an older DUMP of DensePose holds: a file of `apply_net dump`, which is read without running it."""
    from det_densepose.results.dumps import read_dump, selected

    entries = selected(read_dump(dump), selectors)
    for entry in entries:
        scores = ", ".join(f"{score:.4f}" for score in entry.scores)
        click.echo(f"{entry.file_name}: {len(entry.scores)} objects ({scores})")
        if folder is not None:
            click.echo(f"  {entry.save(folder)}")
    if not entries:
        click.echo("nothing fits")
