"""Commands that make things: meshes, pseudo-labels, rendered pictures."""

import json
from pathlib import Path

import click

from det_densepose.cli.common import PATH, Command, found_pictures, results_of

__all__ = ["bootstrap", "mesh", "render"]


@click.group()
def mesh() -> None:
    """Bodies of your own."""


@mesh.command("make", cls=Command)
@click.argument("source", metavar="BODY.obj", type=PATH)
@click.option("--output", type=PATH, metavar="FILE", help="The body, by default BODY.npz beside BODY.obj.")
@click.option(
    "--axis", type=click.Choice(["x", "y", "z", "none"]), default="x", show_default=True, help="Left to right; or none."
)
@click.option("--tolerance", default=0.02, show_default=True, help="Of mirrored vertices, in parts of the width.")
@click.option("--features", default=256, show_default=True, help="How many eigenfunctions of the Laplacian.")
def make(source: Path, output: Path | None, axis: str, tolerance: float, features: int) -> None:
    """Make what surface embeddings need of a mesh: features, distances, symmetry; checked, and drawn into a PNG."""
    from PIL import Image

    from det_densepose.bodies.making import draw_body, make_body, save_body

    body = make_body(source, None if axis == "none" else "xyz".index(axis), tolerance, features)
    target = output or source.with_suffix(".npz")
    save_body(body, target)
    picture = target.with_suffix(".png")
    Image.fromarray(draw_body(body)).save(picture)
    symmetry = "without symmetry" if body.symmetry is None else "symmetric"
    click.echo(f"{target}: {body.num_vertices} vertices, {symmetry}; drawn in {picture}")


@click.command(cls=Command)
@click.argument("model")
@click.argument("pictures", nargs=-1, required=True, type=PATH)
@click.option("--output", required=True, type=PATH, metavar="FILE", help="The annotation file to write.")
@click.option(
    "--sampler",
    type=click.Choice(["uniform", "sigma_2", "fine_segm_confidence", "coarse_segm_confidence"]),
    default="uniform",
    show_default=True,
    help="From which pixels points are drawn: all, or those of which the model is surest.",
)
@click.option("--count", default=8, show_default=True, help="Points of each part, or of each object on a mesh.")
@click.option("--share", default=0.5, show_default=True, help="How many pixels count as the surest.")
@click.option("--min-score", default=0.8, show_default=True, help="Objects of a lower score are left out.")
@click.option("--seed", default=0, show_default=True, help="Of the drawing.")
def bootstrap(
    model: str,
    pictures: tuple[Path, ...],
    output: Path,
    sampler: str,
    count: int,
    share: float,
    min_score: float,
    seed: int,
) -> None:
    """Write pseudo-labels of MODEL for PICTURES, to train the next model on them and on annotated pictures."""
    from det_densepose.bootstrap.pseudo import pseudo_annotations
    from det_densepose.bootstrap.samplers import PointSampler

    point_sampler = PointSampler(sampler, count, share)  # type: ignore[arg-type]
    files = found_pictures(pictures)
    content = pseudo_annotations(results_of(model, files), point_sampler, min_score, seed)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(content), encoding="utf-8")
    click.echo(f"{output}: {len(content['annotations'])} objects in {len(content['images'])} of {len(files)} pictures")


@click.command(cls=Command)
@click.argument("folder", type=PATH)
@click.option("--count", default=200, show_default=True, help="Pictures.")
@click.option("--size", default=256, show_default=True, help="Width and height in pixels.")
@click.option("--figures", default="1-2", show_default=True, metavar="A-B", help="How many a picture shows.")
@click.option("--backgrounds", type=PATH, metavar="DIR", help="Pictures that stand behind; by default noise.")
@click.option("--per-part", default=8, show_default=True, help="Annotated points of each part.")
@click.option("--seed", default=0, show_default=True, help="The same seed makes the same pictures.")
@click.option("--dense", is_flag=True, help="Also write part, u and v of every pixel as PNG.")
def render(
    folder: Path,
    count: int,
    size: int,
    figures: str,
    backgrounds: Path | None,
    per_part: int,
    seed: int,
    dense: bool,
) -> None:
    """Render the synthetic figure into FOLDER, with ground truth in the format of DensePose-COCO."""
    from det_densepose.render.scene import Scenery
    from det_densepose.render.writing import write_dataset

    low, _, high = figures.partition("-")
    if not low.isdecimal() or not (high or low).isdecimal() or not 1 <= int(low) <= int(high or low):
        raise click.BadParameter("must be two numbers such as 1-2", param_hint="--figures")
    if min(count, per_part) < 1 or size < 32:
        raise click.UsageError("--count and --per-part must be at least 1, --size at least 32")
    scenery = Scenery((size, size), (int(low), int(high or low)), backgrounds=backgrounds)
    file = write_dataset(folder, count, scenery, seed, per_part, dense)
    click.echo(f"{file}: {count} pictures")
