"""Learn to map every pixel of a synthetic figure onto its surface: ten minutes on two CPU cores.

Renders 200 pictures to learn from and 40 to evaluate on, trains the recipe beside this file, and draws what was learnt:

    python examples/densepose/demo.py --output runs/densepose
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
from det_core import Detector, recipes
from det_core.data import Data
from det_core.engine import evaluate, read_scalars, train
from det_core.visual import plot_curves
from det_densepose.render.scene import Scenery
from det_densepose.render.textures import join_atlas
from det_densepose.render.writing import write_dataset
from det_densepose.results import ChartResult, persons
from det_densepose.visual.drawings import BoxDrawing, ContourDrawing, PartDrawing, TextureDrawing, UVDrawing, draw
from det_densepose.visual.textures import take_texture
from PIL import Image

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "build" / "densepose"
SCENERY = Scenery(size=(160, 160), figures=(1, 2), height=(0.65, 0.95), upright=True)


def main() -> None:
    """Render, train, evaluate, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/densepose"), help="the folder for the results")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change the recipe")
    arguments = parser.parse_args()
    # The recipe names its files from the root of the repository, wherever this is called from.
    os.environ["DET_DATA"] = str(HERE.parents[1])
    render()
    recipe = recipes.load(HERE / "recipe.yaml", arguments.set)
    start = time.perf_counter()
    outcome = train(recipe, arguments.output, overwrite=True)
    minutes = (time.perf_counter() - start) / 60
    if not outcome.finished:
        raise SystemExit(130)
    folder = outcome.folder
    detector = Detector.load(folder.best)
    data = recipe.build("data")
    found = evaluate(detector.model, data.eval_loader("val", batch_size=8), data.build_evaluators("val"))
    plot_curves(read_scalars(folder.scalars), folder.path / "curves.png")
    (folder.path / "metrics.json").write_text(json.dumps(found.metrics, indent=1), encoding="utf-8")
    draw_pictures(detector, data, folder.path)
    print(f"\nTrained {outcome.step} steps in {minutes:.1f} minutes; results are in {folder.path}")
    for name in ("bbox/AP50", "densepose_gps/AP50", "densepose_gpsm/AP", "densepose_gpsm/AP50", "densepose_segm/AP50"):
        print(f"{name}: {found.metrics[name]:.3f}")


def render() -> None:
    """Make the pictures, unless they are there."""
    for name, count, seed in (("train", 200, 1), ("val", 40, 2)):
        if not (DATA / name / "annotations.json").is_file():
            print(f"Rendering {count} pictures into {DATA / name}")
            write_dataset(DATA / name, count, SCENERY, seed, dense=name == "val")


def draw_pictures(detector: Detector, data: Data, folder: Path) -> None:
    """One sheet with a row for each kind of drawing, and the texture taken out of the first put onto all."""
    dataset = data.dataset("val")
    columns: list[list[np.ndarray]] = []
    views = []
    kinds = ([PartDrawing(), BoxDrawing()], [UVDrawing("u")], [UVDrawing("v")], [ContourDrawing()])
    for index in range(8):
        result = detector(dataset[index].image)
        image, seen = result.image.permute(1, 2, 0).numpy(), persons(result, 0.5)
        scores = [score for score in result.detections.scores.tolist() if score >= 0.5]
        columns.append([image, *(draw(image, seen, each, scores) for each in kinds)])
        if index == 0 and seen and isinstance(seen[0], ChartResult):
            views.append((image, seen[0]))
        if views:
            atlas = take_texture(views, 64)
            columns[-1].append(draw(image, seen, [TextureDrawing(atlas)], colored=True))
            Image.fromarray(join_atlas(atlas)).save(folder / "atlas.png")
    rows = min(map(len, columns))
    sheet = np.concatenate([np.concatenate(column[:rows]) for column in columns], 1)
    Image.fromarray(sheet).save(folder / "pictures.png")


if __name__ == "__main__":
    main()
