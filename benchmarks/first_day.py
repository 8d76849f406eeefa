"""AP of the recipes that `det start` writes beside recipes written by hand, after the same number of steps.

    python benchmarks/first_day.py DIR [--steps 100] [--only NAME]
    python benchmarks/first_day.py DIR --only NAME --longer STEPS

Four sets: blood cells and nuclei of examples/ as they are, 60 photographs with red blood cells alone as LabelImg XML,
and 40 photographs with all three kinds of cells as YOLO. For each, `det start` recognizes the format, splits the
pictures if they are not split, and writes a recipe without any option but the weights; the other recipe is the one of
examples/, with the same splits, batches and steps. `--longer` trains the recipe of `det start` alone, for as many steps
as fit into the time of the other. The results are added to benchmarks/results/first_day.json, and to the table of
docs/first_day.md.
"""

import argparse
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import torch
from det_core import recipes
from det_core.engine import train
from det_inspect.start.start import Options, start
from det_inspect.start.tree import Tree

ROOT = Path(__file__).resolve().parents[1]
CELLS, NUCLEI = ROOT / "examples" / "blood-cells", ROOT / "examples" / "nuclei"
WEIGHTS = CELLS / "mobilenet_v2-b0353104.pth"
RESULTS = Path(__file__).parent / "results" / "first_day.json"
PAGE = ROOT / "docs" / "first_day.md"
SETS = ("blood cells", "nuclei", "red cells, LabelImg", "40 pictures, YOLO")


def main() -> None:
    """Train both recipes on each set and add the figures to the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="for the sets and runs")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--only", choices=SETS)
    parser.add_argument("--longer", type=int, metavar="STEPS", help="of the recipe of det start alone")
    arguments = parser.parse_args()
    os.environ["DET_DATA"] = str(ROOT)
    for name in [arguments.only] if arguments.only else SETS:
        folder = (arguments.folder / name.replace(", ", "_").replace(" ", "_")).resolve()
        shutil.rmtree(folder, ignore_errors=True)
        started = start(Tree(data_of(name, folder / "data")), folder / "recipe.yaml", Options(weights=WEIGHTS))
        if arguments.longer:
            figures = trained(started.recipe, started.recipe, folder / "longer", arguments.longer)
            row = json.loads(RESULTS.read_text())["sets"][name]
            write(name, row | {"det start, in the time by hand": {"steps": arguments.longer, **figures}})
            continue
        by_hand = recipes.load(NUCLEI / "mask_rcnn.yaml" if name == "nuclei" else CELLS / "recipe.yaml")
        row = {
            "format": started.form,
            "steps": arguments.steps,
            "images": {split: images for split, (images, _) in started.counts.items()},
            "det start": trained(started.recipe, started.recipe, folder / "start", arguments.steps),
            "by hand": trained(by_hand, started.recipe, folder / "hand", arguments.steps),
        }
        print(name, json.dumps(row), flush=True)
        write(name, row)


def data_of(name: str, folder: Path) -> Path:
    """The folder that `det start` is given."""
    if name == "blood cells":
        return CELLS
    if name == "nuclei":
        return NUCLEI
    content = json.loads((CELLS / "instances_train.json").read_text())
    count, kept = (60, {"RBC"}) if "LabelImg" in name else (40, {"WBC", "RBC", "Platelets"})
    names = {each["id"]: each["name"] for each in content["categories"] if each["name"] in kept}
    folder.mkdir(parents=True)
    for image in content["images"][:: len(content["images"]) // count][:count]:
        shutil.copy(CELLS / "images" / image["file_name"], folder / image["file_name"])
        own = [e for e in content["annotations"] if e["image_id"] == image["id"] and e["category_id"] in names]
        stem = folder / Path(image["file_name"]).stem
        if "LabelImg" in name:
            stem.with_suffix(".xml").write_text(xml_of(image, own, names))
        else:
            stem.with_suffix(".txt").write_text("".join(yolo_line(e, image, list(names)) for e in own))
    if "YOLO" in name:
        (folder / "data.yaml").write_text(f"train: .\nval: .\nnames: {json.dumps(list(names.values()))}\n")
    return folder


def xml_of(image: dict[str, Any], objects: list[dict[str, Any]], names: dict[int, str]) -> str:
    """The XML file that LabelImg writes for a picture."""
    text = f"<annotation><filename>{escape(image['file_name'])}</filename><size><width>{image['width']}</width>"
    text += f"<height>{image['height']}</height><depth>3</depth></size>"
    for each in objects:
        x, y, w, h = each["bbox"]
        corners = f"<xmin>{x + 1:g}</xmin><ymin>{y + 1:g}</ymin><xmax>{x + w:g}</xmax><ymax>{y + h:g}</ymax>"
        text += f"<object><name>{escape(names[each['category_id']])}</name><bndbox>{corners}</bndbox></object>"
    return f"{text}</annotation>\n"


def yolo_line(record: dict[str, Any], image: dict[str, Any], ids: list[int]) -> str:
    """The line of an object: its label, then center and size in shares of the picture."""
    x, y, w, h = record["bbox"]
    width, height = image["width"], image["height"]
    label = ids.index(record["category_id"])
    return f"{label} {(x + w / 2) / width:.6f} {(y + h / 2) / height:.6f} {w / width:.6f} {h / height:.6f}\n"


def trained(recipe: recipes.Recipe, data: recipes.Recipe, folder: Path, steps: int) -> dict[str, Any]:
    """Metrics on the validation pictures of `data` after a training of `recipe`."""
    tree = json.loads(json.dumps(dict(recipe.tree)))
    splits = {split: data.tree["data"][split] for split in ("train", "val")}
    tree["data"] = {**tree["data"], **splits, "test": None, "workers": 0}
    tree["model"]["num_classes"] = data.tree["model"]["num_classes"]
    lengths = {"steps": steps, "evaluate_every": None, "checkpoint_every": None, "validation_loss": False}
    tree["train"] = {**tree["train"], **lengths, "best_metric": "bbox/AP", "device": "cpu"}
    tree["train"]["schedule"]["warmup"] = max(1, steps // 8)
    began = time.perf_counter()
    outcome = train(recipes.recipe_from_tree(tree, recipe.source), folder, overwrite=True)
    names = ("bbox/AP", "bbox/AP50", "segm/AP")
    figures = {name: round(outcome.metrics[name], 4) for name in names if name in outcome.metrics}
    return {**figures, "seconds": round(time.perf_counter() - began)}


def write(name: str, row: dict[str, Any]) -> None:
    """Add the figures of a set."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {"batch_size": 4, "threads": torch.get_num_threads(), "torch": torch.__version__}
    results.setdefault("sets", {})[name] = row
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    before, _, rest = PAGE.read_text("utf-8").partition("| set | box AP")
    PAGE.write_text(before + table(results["sets"]) + rest[rest.index("\n\n") :], "utf-8")


def table(sets: dict[str, Any]) -> str:
    """The table of the page, in per cent."""
    lines = ["| set | box AP, `det start` | box AP, by hand | mask AP, `det start` | mask AP, by hand |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for name in (each for each in SETS if each in sets):
        row = sets[name]
        figures = [row[who].get(what) for what in ("bbox/AP", "segm/AP") for who in ("det start", "by hand")]
        cells = " | ".join("" if figure is None else f"{100 * figure:.1f}" for figure in figures)
        lines.append(f"| {name} ({row['images']['val']} for validation) | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
