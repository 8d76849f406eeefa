"""Parameters, operations, file sizes, latencies and AP of mobile detectors, in one table.

    python benchmarks/mobile_table.py --write --runs mobile_tiny=runs/tiny mobile_small=runs/small
    python benchmarks/mobile_table.py --runs mobile_tiny=runs/tiny mobile_small=runs/small

The first writes the files, which takes minutes each, and evaluates the trained models and their files; the second
measures latencies, trunk, heads and suppression included, of one picture at the size of the recipe: all formats of a
recipe in one process, in turns, once with one thread and once with two. Every result is in results/mobile_table.json as
soon as it is there, and is not measured again unless `--again`. A format that fails has its error in its place.
`--runs NAME=FOLDER` takes the trained weights of a run in place of random ones.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "examples/blood-cells/images"
CELLS, C4, KEYPOINTS, FPN = (288, 384), (224, 320), (224, 448), (640, 864)
SIZES = {
    "mobile_tiny": CELLS,
    "mobile_small": CELLS,
    "faster_rcnn_fbnetv3a_c4": C4,
    "faster_rcnn_fbnetv3a_dsmask_c4": C4,
    "mask_rcnn_fbnetv3a_c4": C4,
    "mask_rcnn_fbnetv3a_dsmask_c4": C4,
    "keypoint_rcnn_fbnetv3a_dsmask_c4": KEYPOINTS,
    "faster_rcnn_fbnetv3g_fpn": FPN,
    "mask_rcnn_fbnetv3g_fpn": FPN,
    "examples/blood-cells/dsmask_c4.yaml": CELLS,
}
FORMATS = tuple(f"{form}-{precision}" for form in ("onnx", "aoti", "executorch") for precision in ("fp32", "int8"))
ROUNDS, WARMUP = 40, 3  # rounds: a fifth of them for the largest size


def main() -> None:
    """Write or measure what is missing."""
    parser = argparse.ArgumentParser(description="A table of mobile detectors.")
    parser.add_argument("--write", action="store_true", help="write and evaluate the files; measure no latency")
    parser.add_argument("--again", action="store_true", help="measure what there is, too")
    parser.add_argument("--recipes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), choices=FORMATS)
    parser.add_argument("--folder", type=Path, default=Path("runs/mobile-table"))
    parser.add_argument("--result", type=Path, default=Path(__file__).parent / "results" / "mobile_table.json")
    parser.add_argument("--runs", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault("DET_DATA", str(ROOT))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.one:
        one(arguments)
        return
    for recipe in arguments.recipes:
        for cell in ["costs", *arguments.formats] if arguments.write else ["1", "2"]:
            kind = "cells" if arguments.write else "milliseconds"
            if arguments.again or cell not in results(arguments).get(recipe, {}).get(kind, {}):
                print(recipe, cell, flush=True)
                environment = {**os.environ, "OMP_NUM_THREADS": "1" if arguments.write else cell}
                command = [sys.executable, __file__, *sys.argv[1:], "--one", recipe, cell]
                subprocess.run(command, check=False, env=environment)


def one(arguments: argparse.Namespace) -> None:
    """One cell, or the latencies of a recipe, in a process of its own."""
    recipe, cell = arguments.one
    measure: Callable[..., Any] = (costs if cell == "costs" else written) if arguments.write else latencies
    try:
        result = measure(recipe, cell, arguments)
    except Exception as error:  # of any library: the table goes on
        result = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
    print(recipe, cell, result, flush=True)
    content = results(arguments)
    row = content.setdefault(recipe, {"size": SIZES[recipe], "cells": {}, "milliseconds": {}})
    row["cells" if arguments.write else "milliseconds"][cell] = result
    row["versions"] = versions()
    arguments.result.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def results(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was measured so far, by recipe."""
    path: Path = arguments.result
    content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return content


def versions() -> dict[str, str]:
    """Of what computes."""
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "onnxruntime", "executorch")} | {"machine": platform.machine()}


def detector_of(recipe: str, arguments: argparse.Namespace) -> tuple[Any, bool]:
    """A detector, and whether it is trained; the same random weights in every process."""
    import torch
    from det_core import Detector, recipes

    runs = dict(each.split("=", 1) for each in arguments.runs)
    if recipe in runs:
        return Detector.load(runs[recipe], device="cpu"), True
    torch.manual_seed(0)
    model: Any = recipes.load(recipe).build_model()
    return Detector(model, [f"class {i}" for i in range(model.num_classes)], device="cpu"), False


def batch_of(recipe: str) -> Any:
    """A picture at the size of the recipe."""
    import _images

    return _images.batch_of(min(PICTURES.glob("*.jpg")), SIZES[recipe])


def costs(recipe: str, _cell: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Parameters, multiply-accumulates, AP as published, and AP of the trained model on the test images."""
    from det_core.zoo.published import of_recipe
    from det_inspect.models import model_costs

    detector, trained = detector_of(recipe, arguments)
    whole = model_costs(detector.model, batch_of(recipe))[0]
    published = of_recipe(recipe)
    figures = dict(published.reported) if published else {}
    result = {"parameters": whole.parameters, "macs": whole.flops // 2, "published": figures}
    return result | ({"test": metrics_of(detector.model, detector)} if trained else {})


def metrics_of(model: Any, detector: Any) -> dict[str, float]:
    """On the test images of the recipe that trained the detector."""
    from det_core.engine import evaluate

    data = detector.recipe.build("data")
    metrics = evaluate(model, data.eval_loader("test", batch_size=1), data.build_evaluators("test")).metrics
    return {name: value for name, value in metrics.items() if name in ("bbox/AP", "bbox/AP50", "bbox/AP75")}


def file_of(recipe: str, cell: str, arguments: argparse.Namespace) -> Path:
    """Where the file of a cell is."""
    form = cell.split("-")[0]
    suffix = {"onnx": ".onnx", "aoti": ".pt2", "executorch": ".pte"}[form]
    path: Path = arguments.folder / f"{Path(recipe).stem}-{cell}{suffix}"
    return path


def written(recipe: str, cell: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write a file; its size, the seconds that took, agreement with the model and, of a trained one, AP."""
    import torch
    from det_core import Detector
    from det_export.check import compare

    torch.set_num_threads(1)
    detector, trained = detector_of(recipe, arguments)
    form, precision = cell.split("-")
    options: dict[str, Any] = {"precision": precision, "calibrate": PICTURES} if precision == "int8" else {}
    if form == "aoti":
        options["dynamic"] = False
    start, used = time.perf_counter(), time.process_time()
    path = detector.export(form, file_of(recipe, cell, arguments), SIZES[recipe], **options)
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    exported: Any = Detector.load(path, device="cpu", trust=True).model
    agreement = compare(detector.model, exported, sorted(PICTURES.glob("*.jpg"))[-3:], [SIZES[recipe]], path)
    result = {"megabytes": path.stat().st_size / 1e6, "seconds": seconds, "processor_seconds": processor}
    result["matched"] = agreement.as_dict()["matched"]
    return result | ({"test": metrics_of(exported, detector)} if trained else {})


def latencies(recipe: str, threads: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Median milliseconds of the model and of its files, their passes in turns."""
    import torch
    from det_core import Detector

    count = int(threads)
    torch.set_num_threads(count)
    if any(file_of(recipe, cell, arguments).exists() for cell in arguments.formats if cell.startswith("executorch")):
        from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool

        _unsafe_reset_threadpool(count)  # before a program is loaded
    models = {"eager": detector_of(recipe, arguments)[0].model}
    for cell in arguments.formats:
        path = file_of(recipe, cell, arguments)
        if path.exists():
            models[cell] = Detector.load(path, device="cpu", trust=True).model
    batch = batch_of(recipe)
    times: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for turn in range(WARMUP + (ROUNDS // 5 if SIZES[recipe] == FPN else ROUNDS)):
            for name, model in models.items():
                start = time.perf_counter()
                model(batch)
                if turn >= WARMUP:
                    times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(each) for name, each in times.items()}


if __name__ == "__main__":
    main()
