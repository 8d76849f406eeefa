"""One model in every runtime, fp32 and int8, side by side: latency, size of the file, peak memory, agreement.

Batch 1, two threads. Each runtime runs in a process of its own, so that its peak memory is its own; runs of all take
turns, so that what else the machine does falls on all alike. Weights are random: speed does not depend on them, and
agreement is that of the largest scores.

    python benchmarks/runtimes.py --write
    python benchmarks/runtimes.py [--models NAME ...] [--runtimes NAME ...] [--runs N]

`--write` writes the files alone, which takes most of the time and needs no quiet machine; files are kept in --folder,
and not written again. A run measures eager beside the runtimes that it is given, and keeps the others' rows.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from det_core import recipes
from det_core.models.cpu import accelerate
from det_core.plugins import registry
from det_core.predict.optimize import optimize
from det_core.structures import ImageBatch, Prediction
from det_export.check import BOUNDS, Row, compared, shipped, timed

RESULTS = Path(__file__).parent / "results" / "runtimes.json"
THREADS = 2
# Model: recipe, what is changed, height and width.
MODELS: dict[str, tuple[str, tuple[str, ...], tuple[int, int]]] = {
    "mask_rcnn_r50_fpn": ("mask_rcnn_r50_fpn_1x", (), (800, 1216)),
    "mobile": ("examples/blood-cells/recipe.yaml", (), (320, 448)),
    "tiny": (
        "mask_rcnn_r50_fpn_1x",
        (
            "model.backbone.bottom_up.depth=18",
            "model.backbone.bottom_up.res2_channels=8",
            "model.backbone.bottom_up.stem_channels=8",
            "model.backbone.out_channels=16",
        ),
        (192, 224),
    ),
}
RUNTIMES = ("eager", "optimized", "aoti", "onnx", "openvino", "aoti int8", "onnx int8", "openvino int8")


def model_of(name: str) -> Any:
    """A model with the same random weights in every process."""
    recipe, overrides, _ = MODELS[name]
    torch.manual_seed(0)
    return recipes.load(recipe, overrides).build_model().eval()


def batch_of(name: str) -> ImageBatch:
    """One shipped picture, as large as the model wants it."""
    from det_core.data import read_image

    size = MODELS[name][2]
    pixels = read_image(shipped()[0])[None].float()
    resized = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear", antialias=True)
    return ImageBatch(pixels=resized.round().to(torch.uint8), sizes=(size,))


def written(name: str, runtime: str, folder: Path) -> Path:
    """The file of a runtime, written once; the time it took stands beside it."""
    form, _, precision = runtime.partition(" ")
    path = folder / f"{name}-{form}-{precision or 'fp32'}"
    marker = path.with_suffix(".seconds")
    maker = registry.find("exporters", form, "runtimes").load()
    options = {"precision": precision, "calibrate": shipped()[0].parent} if precision else {}
    exporter = maker(**options)
    file = path.with_name(path.name + exporter.suffixes[0])
    if not marker.exists():
        start = time.monotonic()
        exporter.export(model_of(name), batch_of(name), file)
        marker.write_text(f"{time.monotonic() - start:.0f}")
    return file


def runner_of(name: str, runtime: str, folder: Path) -> Any:
    """What predicts a batch in a runtime."""
    if runtime == "eager":
        return accelerate(model_of(name), on=False)
    if runtime == "optimized":
        return optimize(accelerate(model_of(name)))
    file = written(name, runtime, folder)
    exporter = registry.find("exporters", runtime.split()[0], "runtimes").load()()
    exporter.trust = True
    return exporter.load(file)


def child(name: str, runtime: str, folder: Path) -> None:
    """One process: load, answer each line of the input with the time of a run, and end with the peak memory."""
    torch.set_num_threads(THREADS)
    batch, before = batch_of(name), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    runner = runner_of(name, runtime, folder)
    with torch.no_grad():
        (prediction,), _ = timed(runner, batch)
        for _ in range(2):
            timed(runner, batch)
        torch.save(prediction.detections, folder / f"{name}-{runtime.replace(' ', '-')}.found")
        print("ready", flush=True)
        for _ in sys.stdin:
            print(timed(runner, batch)[1], flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"peak_mb": peak / 1024, "before_mb": before / 1024}), flush=True)


def write(name: str, runtimes: list[str], folder: Path) -> None:
    """The files of the runtimes, as far as they are not there."""
    for runtime in runtimes:
        if runtime not in ("eager", "optimized"):
            print(f"{name}: {runtime}: {written(name, runtime, folder)}", flush=True)


def measure(name: str, runtimes: list[str], runs: int, folder: Path) -> dict[str, Any]:
    """All runtimes of one model, their runs in turns."""
    write(name, runtimes, folder)
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
    processes = {}
    for runtime in runtimes:
        command = [sys.executable, __file__, "--child", name, runtime, "--folder", str(folder)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=Path.cwd()
        )
        while (line := process.stdout.readline()) and line.strip() != "ready":  # type: ignore[union-attr]
            pass
        processes[runtime] = process
    times: dict[str, list[float]] = {runtime: [] for runtime in runtimes}
    for _ in range(runs):
        for runtime, process in processes.items():
            process.stdin.write("run\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            times[runtime].append(float(process.stdout.readline()))  # type: ignore[union-attr]
    return {each: _figures(name, each, process, times[each], folder) for each, process in processes.items()}


def _figures(
    name: str, runtime: str, process: "subprocess.Popen[str]", times: list[float], folder: Path
) -> dict[str, Any]:
    last, _ = process.communicate()
    memory = json.loads(last.strip().splitlines()[-1])
    precision = runtime.partition(" ")[2] or "fp32"
    found, expected = (
        torch.load(folder / f"{name}-{each.replace(' ', '-')}.found", weights_only=False) for each in (runtime, "eager")
    )
    row = compared(
        Row(name, MODELS[name][2], bounds=BOUNDS[precision]),
        Prediction(detections=expected),
        Prediction(detections=found),
    )
    figures = {"ms": statistics.median(times), "least_ms": min(times), "peak_mb": memory["peak_mb"]}
    figures |= {"matched": row.matched, "boxes": row.boxes, "scores": row.scores, "masks": row.masks}
    if runtime not in ("eager", "optimized"):
        file = written(name, runtime, folder)
        files = [file, file.with_suffix(".bin")] if file.suffix == ".xml" else [file]
        figures["file_mb"] = sum(each.stat().st_size for each in files) / 1e6
    return figures


def main() -> None:
    """Measure, print, and keep what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=["mask_rcnn_r50_fpn", "mobile"], choices=list(MODELS))
    parser.add_argument("--runtimes", nargs="*", default=list(RUNTIMES), choices=RUNTIMES)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/det-runtimes"))
    parser.add_argument("--write", action="store_true", help="only write the files")
    parser.add_argument("--child", nargs=2)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.child:
        child(*arguments.child, arguments.folder)
        return
    torch.set_num_threads(THREADS)
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    for name in arguments.models:
        runtimes = ["eager", *(each for each in arguments.runtimes if each != "eager")]
        if arguments.write:
            write(name, runtimes, arguments.folder)
            continue
        rows = measure(name, runtimes, arguments.runs, arguments.folder)
        for runtime, row in rows.items():
            row["times_as_fast"] = rows["eager"]["ms"] / row["ms"]
            shown = {key: float(f"{value:.3g}") for key, value in row.items()}
            print(f"{name:20} {runtime:14} {shown}", flush=True)
        versions = {"torch": torch.__version__, "python": platform.python_version(), "machine": platform.machine()}
        kept = results.get(name, {}).get("rows", {})
        results[name] = {"rows": kept | rows, "size": MODELS[name][2], "threads": THREADS, "versions": versions}
        if name != "tiny":
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
