"""Learn to map every pixel of a synthetic figure onto its surface: ten minutes on two CPU cores.

Renders 200 pictures to learn from and 40 to evaluate on, trains the charts of recipe.yaml and, from the detector that
this gives, the surface embeddings of embeddings.yaml, evaluates both, and draws predictions:

    python examples/densepose/demo.py --output runs/densepose
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from det_core import Detector, recipes
from det_core.data import Data
from det_core.engine import evaluate, read_scalars, train
from det_densepose.bodies.published import BodyFolder
from det_densepose.render.scene import Scenery
from det_densepose.render.textures import join_atlas
from det_densepose.render.writing import write_dataset
from det_densepose.results import ChartResult, persons
from det_densepose.visual.drawings import (
    BoxDrawing,
    ContourDrawing,
    Drawing,
    PartDrawing,
    TextureDrawing,
    UVDrawing,
    VertexDrawing,
    draw,
)
from det_densepose.visual.textures import take_texture
from det_inspect.runs.curves import plot_curves
from PIL import Image

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "build" / "densepose"
SCENERY = Scenery(size=(160, 160), figures=(1, 2), height=(0.65, 0.95), upright=True)
METRICS = ("bbox/AP50", "densepose_gps/AP50", "densepose_gpsm/AP", "densepose_gpsm/AP50", "densepose_segm/AP50")


def main() -> None:
    """Render; train, evaluate and draw charts, then embeddings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/densepose"), help="the folder for the results")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change both recipes")
    parser.add_argument("--charts-only", action="store_true", help="leave out the embeddings")
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    # The recipes name their files from the root of the repository, wherever this is called from.
    os.environ["DET_DATA"] = str(HERE.parents[1])
    render()
    detector, data = learn("recipe.yaml", output / "charts", arguments.set)
    draw_charts(detector, data, output / "charts")
    if not arguments.charts_only:
        source = f"weights.source={output / 'charts' / 'best.safetensors'}"
        detector, data = learn("embeddings.yaml", output / "embeddings", [source, *arguments.set])
        draw_embeddings(detector, data, output / "embeddings")


def learn(name: str, folder: Path, overrides: Sequence[str]) -> tuple[Detector, Data]:
    """Train a recipe beside this file and print what it reaches; the best detector, and the data."""
    recipe = recipes.load(HERE / name, overrides)
    start = time.perf_counter()
    outcome = train(recipe, folder, overwrite=True)
    minutes = (time.perf_counter() - start) / 60
    if not outcome.finished:
        raise SystemExit(130)
    detector = Detector.load(outcome.folder.best)
    data = recipe.build("data")
    evaluation = evaluate(detector.model, data.eval_loader("val", batch_size=8), data.build_evaluators("val"))
    plot_curves(read_scalars(outcome.folder.scalars), folder / "curves.png")
    (folder / "metrics.json").write_text(json.dumps(evaluation.metrics, indent=1), encoding="utf-8")
    print(f"\n{name}: {outcome.step} steps in {minutes:.1f} minutes; results are in {folder}")
    for metric in METRICS:
        print(f"{metric}: {evaluation.metrics[metric]:.3f}")
    return detector, data


def render() -> None:
    """Make the pictures, unless they are there."""
    for name, count, seed in (("train", 200, 1), ("val", 40, 2)):
        if not (DATA / name / "annotations.json").is_file():
            print(f"Rendering {count} pictures into {DATA / name}")
            write_dataset(DATA / name, count, SCENERY, seed, dense=name == "val")


def draw_charts(detector: Detector, data: Data, folder: Path) -> None:
    """One sheet with a row for each kind of drawing, and the texture taken out of the first put onto all."""
    dataset = data.dataset("val")
    columns: list[list[np.ndarray]] = []
    views = []
    kinds: tuple[list[Drawing], ...] = (
        [PartDrawing(), BoxDrawing()],
        [UVDrawing("u")],
        [UVDrawing("v")],
        [ContourDrawing()],
    )
    for index in range(8):
        result = detector(dataset[index].image)
        image, people = result.image.permute(1, 2, 0).numpy(), persons(result, 0.5)
        scores = [score for score in result.detections.scores.tolist() if score >= 0.5]
        columns.append([image, *(draw(image, people, each, scores) for each in kinds)])
        if index == 0 and people and isinstance(people[0], ChartResult):
            views.append((image, people[0]))
        if views:
            atlas = take_texture(views, 64)
            columns[-1].append(draw(image, people, [TextureDrawing(atlas)], colored=True))
            Image.fromarray(join_atlas(atlas)).save(folder / "atlas.png")
    save_sheet(columns, folder)


def draw_embeddings(detector: Detector, data: Data, folder: Path) -> None:
    """One sheet: the pictures, and the vertices of their pixels in colors that change along the body."""
    columns: list[list[np.ndarray]] = []
    kinds: list[Drawing] = [VertexDrawing(BodyFolder().body), BoxDrawing()]
    for index in range(8):
        result = detector(data.dataset("val")[index].image)
        scores = [score for score in result.detections.scores.tolist() if score >= 0.5]
        image = result.image.permute(1, 2, 0).numpy()
        columns.append([image, draw(image, persons(result, 0.5), kinds, scores)])
    save_sheet(columns, folder)


def save_sheet(columns: Sequence[Sequence[np.ndarray]], folder: Path) -> None:
    """Pictures side by side, with what was drawn on each below it, as pictures.png."""
    rows = min(map(len, columns))
    sheet = np.concatenate([np.concatenate(column[:rows]) for column in columns], 1)
    Image.fromarray(sheet).save(folder / "pictures.png")


if __name__ == "__main__":
    main()
