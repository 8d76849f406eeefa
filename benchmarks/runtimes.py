"""One model in every runtime, fp32 and int8, side by side: latency, size of the file, peak memory, agreement.

Batch 1, two threads. Each runtime runs in a process of its own, so that its peak memory is its own; runs of all take
turns, so that what else the machine does falls on all alike. "mobile" is the trained detector of the example. Mask
R-CNN has random weights whose outputs are spread, so that it detects as many objects as it can, with scores that lie
close together.

    python benchmarks/runtimes.py --write
    python benchmarks/runtimes.py [--models NAME ...] [--runtimes NAME ...] [--runs N]
    python benchmarks/runtimes.py --page

`--write` writes the files alone, which takes most of the time and needs no quiet machine; files are kept in --folder,
and not written again. A run measures eager beside the runtimes that it is given, and keeps the others' rows: eight
runtimes can be measured in several runs. `--page` writes the tables of docs/export.md.
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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import _images
import torch
from det_core import Detector, recipes
from det_core.models.cpu_acceleration import accelerate
from det_core.plugins import registry
from det_core.predict.optimize import optimize
from det_core.structures import ImageBatch, Prediction
from det_export.check import BOUNDS, Row, compared, shipped, timed
from det_export.formats.base import FileExporter
from det_export.formats.torch_export import TorchExporter

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "packages" / "det-export" / "tests"))
import narrow_models  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "runtimes.json"
PAGE = ROOT / "docs" / "export.md"
START, END = "<!-- runtimes: written by benchmarks/runtimes.py -->", "<!-- end of runtimes -->"
CELLS = ROOT / "examples" / "blood-cells"
THREADS = 2
PAUSE = 0.3  # seconds; threads of a runtime wait actively for a while after a run
# Model: recipe or checkpoint, what is changed, height and width.
MODELS: dict[str, tuple[str, tuple[str, ...], tuple[int, int]]] = {
    "mask_rcnn_r50_fpn": ("mask_rcnn_r50_fpn_1x", (), (800, 1216)),
    "mobile": (str(CELLS / "detector.safetensors"), (), (320, 427)),
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


def detector_of(name: str) -> Detector:
    """A model with the same weights in every process."""
    source, overrides, size = MODELS[name]
    if source.endswith(".safetensors"):
        return Detector.load(source, device="cpu")
    torch.manual_seed(0)
    model = recipes.load(source, overrides).build_model().eval()
    narrow_models.spread(model, size)
    return Detector(model, [f"class {label}" for label in range(model.num_classes)], device="cpu")


def picture_of(name: str) -> Path:
    """The picture that runtimes are measured on."""
    return sorted((CELLS / "images").glob("*.jpg"))[6] if name == "mobile" else shipped()[0]


def batch_of(name: str) -> ImageBatch:
    """One picture, as large as the model wants it."""
    return _images.batch_of(picture_of(name), MODELS[name][2])


def file_of(name: str, runtime: str, folder: Path) -> Path:
    """The file of a runtime."""
    form, _, precision = runtime.partition(" ")
    suffix = registry.find("exporters", form, "runtimes").load().suffixes[0]
    return folder / f"{name}-{form}-{precision or 'fp32'}{suffix}"


def runner_of(name: str, runtime: str, folder: Path) -> Any:
    """What predicts a batch in a runtime."""
    if runtime == "eager":
        return accelerate(detector_of(name).model, on=False)
    if runtime == "optimized":
        return optimize(detector_of(name).model)
    file = file_of(name, runtime, folder)
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
    """The files of the runtimes that are not there yet, marked by an empty file beside each when it is complete."""
    files = {each: file_of(name, each, folder) for each in runtimes if each not in ("eager", "optimized")}
    for precision in ("", "int8"):
        missing = [
            runtime
            for runtime, file in files.items()
            if runtime.partition(" ")[2] == precision and not file.with_suffix(".complete").exists()
        ]
        if missing:
            _write(name, precision, {runtime: files[runtime] for runtime in missing}, folder)


def _write(name: str, precision: str, files: Mapping[str, Path], folder: Path) -> None:
    """Trace a model once, and write it for all runtimes: AOTInductor first, ONNX once for both that read it."""
    options: dict[str, Any] = {"precision": precision, "calibrate": picture_of(name).parent} if precision else {}
    tracer, detector = TorchExporter(**options), detector_of(name)
    tracer.compared, tracer.about = [picture_of(name)], detector.about_for_export()
    tracer.export(detector.model, batch_of(name), folder / f"{name}-{precision or 'fp32'}")
    source: FileExporter = tracer
    for runtime in sorted(files):  # ONNX before OpenVINO, which is made of its graph
        start, file = time.monotonic(), files[runtime]
        exporter = registry.find("exporters", runtime.partition(" ")[0], "runtimes").load()(**options)
        source.export_as(exporter, file)
        source = exporter
        file.with_suffix(".complete").touch()
        print(f"{name}: {runtime}: {file}, {time.monotonic() - start:.0f} s", flush=True)


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
            time.sleep(PAUSE)
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
        file = file_of(name, runtime, folder)
        files = [file, file.with_suffix(".bin")] if file.suffix == ".xml" else [file]
        figures["file_mb"] = sum(each.stat().st_size for each in files) / 1e6
    return figures


def write_page(results: dict[str, Any]) -> None:
    """Put the tables into docs/export.md."""
    lines: list[str] = []
    for name, result in results.items():
        height, width = result["size"]
        lines += [
            "",
            f"`{name}`, {height} x {width}, {result['threads']} threads, torch {result['versions']['torch']}:",
            "",
        ]
        lines += [f"| {' | '.join(COLUMNS)} |", f"| --- |{' ---: |' * (len(COLUMNS) - 1)}"]
        lines += [_line(runtime, result["rows"][runtime]) for runtime in RUNTIMES if runtime in result["rows"]]
    text = PAGE.read_text("utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{START}\n\n" + "\n".join(lines).strip() + f"\n\n{END}{after}", "utf-8")


COLUMNS = ("runtime", "ms", "times eager", "file, MB", "peak memory, MB", "matched", "boxes, px", "scores")


def _line(runtime: str, row: dict[str, Any]) -> str:
    file = f"{row['file_mb']:.1f}" if "file_mb" in row else ""
    name = runtime if " " in runtime or runtime in ("eager", "optimized") else f"{runtime} fp32"
    speed = [f"{row['ms']:.0f}", f"{row['times_as_fast']:.2f}", file, f"{row['peak_mb']:.0f}"]
    agreement = [f"{row['matched']:.0%}", f"{row['boxes']:.1g}", f"{row['scores']:.1g}"]
    return f"| {' | '.join([name, *speed, *agreement])} |"


def main() -> None:
    """Measure, print, and keep what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=["mask_rcnn_r50_fpn", "mobile"], choices=list(MODELS))
    parser.add_argument("--runtimes", nargs="*", default=list(RUNTIMES), choices=RUNTIMES)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/det-runtimes"))
    parser.add_argument("--write", action="store_true", help="only write the files")
    parser.add_argument("--page", action="store_true", help="only write the tables of docs/export.md")
    parser.add_argument("--child", nargs=2)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.child:
        child(*arguments.child, arguments.folder)
        return
    torch.set_num_threads(THREADS)
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    if arguments.page:
        write_page(results)
        return
    for name in arguments.models:
        runtimes = ["eager", *(each for each in arguments.runtimes if each != "eager")]
        if arguments.write:
            write(name, runtimes, arguments.folder)
            continue
        rows = measure(name, runtimes, arguments.runs, arguments.folder)
        for runtime, row in rows.items():
            row["eager_ms"] = rows["eager"]["ms"]
            row["times_as_fast"] = rows["eager"]["ms"] / row["ms"]
            shown = {key: float(f"{value:.3g}") for key, value in row.items()}
            print(f"{name:20} {runtime:14} {shown}", flush=True)
        versions = {"torch": torch.__version__, "python": platform.python_version(), "machine": platform.machine()}
        kept = results.get(name, {}).get("rows", {})
        results[name] = {"rows": kept | rows, "size": MODELS[name][2], "threads": THREADS, "versions": versions}
        if name != "tiny":
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
            write_page(results)


if __name__ == "__main__":
    main()
