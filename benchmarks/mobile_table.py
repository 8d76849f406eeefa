"""Parameters, operations, file sizes and latencies of mobile detectors, in one table.

    python benchmarks/mobile_table.py --output runs/mobile-table --calibrate examples/blood-cells/images

Each cell is a file of the folder, measured in a process of its own: a script that was stopped goes on where it was, and
a format that fails leaves its error in its cell. Latency is the median of passes over one picture at the size of the
recipe, trunk, heads and suppression included; `--runs NAME=CHECKPOINT` measures trained weights instead of random ones.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"mobile_tiny": (288, 384), "mobile_small": (288, 384), "faster_rcnn_fbnetv3g_fpn": (640, 864)}
SIZES["mask_rcnn_fbnetv3g_fpn"] = SIZES["faster_rcnn_fbnetv3g_fpn"]
C4 = (224, 320)
RECIPES = ("mobile_tiny", "mobile_small", "faster_rcnn_fbnetv3a_c4", "faster_rcnn_fbnetv3a_dsmask_c4")
CELLS = ("costs", "eager", "eager-2", "onnx-fp32", "onnx-int8", "aoti-fp32", "aoti-int8")
CELLS += ("executorch-fp32", "executorch-int8")


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description="A table of mobile detectors.")
    parser.add_argument("--output", type=Path, default=Path("runs/mobile-table"))
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--cells", nargs="+", default=CELLS, choices=CELLS)
    parser.add_argument("--calibrate", type=Path, default=ROOT / "examples/blood-cells/images")
    parser.add_argument("--runs", nargs="*", default=[], metavar="NAME=CHECKPOINT")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault("DET_DATA", str(ROOT))
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.one:
        measure(*arguments.one.split("/"), arguments)
        return
    for recipe in arguments.recipes:
        for cell in arguments.cells:
            if not (arguments.output / f"{recipe}.{cell}.json").exists():
                command = [sys.executable, __file__, *sys.argv[1:], "--one", f"{recipe}/{cell}"]
                print(recipe, cell, flush=True)
                subprocess.run(command, check=False)
    print(table(arguments.output, arguments.recipes, arguments.cells))


def measure(recipe: str, cell: str, arguments: argparse.Namespace) -> None:
    """One cell, or the error it ends with."""
    try:
        result = cell_of(recipe, cell, arguments)
    except Exception as error:  # of any library: the table goes on
        result = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
    (arguments.output / f"{recipe}.{cell}.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")


def cell_of(recipe: str, cell: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of a cell."""
    import torch
    from det_core import Detector, recipes
    from det_core.structures import ImageBatch

    torch.set_num_threads(2 if cell == "eager-2" else 1)
    torch.manual_seed(0)
    size = SIZES.get(recipe, C4)
    runs = dict(each.split("=", 1) for each in arguments.runs)
    if recipe in runs:
        detector = Detector.load(runs[recipe], device="cpu")
    else:
        model: Any = recipes.load(recipe).build_model()
        detector = Detector(model, [f"class {i}" for i in range(model.num_classes)], device="cpu")
    pixels = torch.randint(0, 256, (1, 3, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    batch = ImageBatch(pixels=pixels, sizes=(size,))
    if cell == "costs":
        from det_inspect.models import model_costs

        whole = model_costs(detector.model, batch)[0]
        return {"parameters": whole.parameters, "macs": whole.flops // 2, "size": list(size)}
    if cell.startswith("eager"):
        return {"milliseconds": latency(lambda: detector.model(batch))}
    form, precision = cell.split("-")
    options: dict[str, Any] = {"precision": precision} if precision != "fp32" else {}
    if precision == "int8":
        options["calibrate"] = arguments.calibrate
    start = time.perf_counter()
    path = detector.export(form, arguments.output / f"{recipe}-{cell}", size, **options)
    seconds = time.perf_counter() - start
    exported = Detector.load(path, device="cpu", trust=True).model
    megabytes = path.stat().st_size / 1e6
    return {"milliseconds": latency(lambda: exported(batch)), "megabytes": megabytes, "export_seconds": seconds}


def latency(run: Callable[[], Any], passes: int = 15) -> float:
    """The median of some passes, in milliseconds."""
    import torch

    times = []
    with torch.inference_mode():
        for _ in range(3):
            run()
        for _ in range(passes):
            start = time.perf_counter()
            run()
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def table(folder: Path, names: list[str], cells: list[str]) -> str:
    """The cells as a table: milliseconds, and megabytes of files."""
    measured = [cell for cell in cells if cell != "costs"]
    lines = ["| recipe | size | M parameters | GMACs | " + " | ".join(measured) + " |"]
    lines.append("| --- | --- | ---: | ---: |" + " ---: |" * len(measured))
    for name in names:
        costs = read(folder, name, "costs")
        size = " x ".join(map(str, costs.get("size", ())))
        numbers = f"{costs.get('parameters', 0) / 1e6:.2f} | {costs.get('macs', 0) / 1e9:.2f}"
        figures = [shown_cell(read(folder, name, cell)) for cell in measured]
        lines.append(f"| `{name}` | {size} | {numbers} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def read(folder: Path, name: str, cell: str) -> dict[str, Any]:
    """A cell; {} where it was not measured."""
    path = folder / f"{name}.{cell}.json"
    content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return content


def shown_cell(cell: dict[str, Any]) -> str:
    """Its text."""
    if "milliseconds" not in cell:
        return "fails" if "error" in cell else "-"
    size = f", {cell['megabytes']:.1f} MB" if "megabytes" in cell else ""
    return f"{cell['milliseconds']:.0f} ms{size}"


if __name__ == "__main__":
    main()
