"""Memory and time of attention with relative positions, as the formula reads and without a matrix of tokens x tokens.

One head of 64 channels over all tokens of an image of 512, 1024 and 1536 pixels (16 pixels per token), forward and
backward. Each measurement is a process of its own, so that its memory is its own; on a GPU where there is one, else in
processor time, which says the same on a machine that others use too.
Run it: python benchmarks/attention.py [RUNS]
"""

import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from det_vitdet.attention import decomposed_attention, plain_attention

RESULTS = Path(__file__).parent / "results" / "attention.json"
FORMS = {"plain": plain_attention, "without the matrix": decomposed_attention}
PIXELS = (512, 1024, 1536)
CHANNELS, PATCH = 64, 16
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def measure(form: str, pixels: int, runs: int) -> dict[str, float]:
    """Median milliseconds of a forward and a backward pass, and the megabytes that they take at most."""
    torch.manual_seed(0)
    grid = (pixels // PATCH, pixels // PATCH)
    q, k, v = (torch.randn(1, 1, grid[0] * grid[1], CHANNELS, device=DEVICE, requires_grad=True) for _ in range(3))
    tables = tuple(torch.randn(2 * side - 1, CHANNELS, device=DEVICE, requires_grad=True) for side in grid)
    clock = time.perf_counter if DEVICE.type == "cuda" else time.process_time
    before, times = memory(), []
    for _ in range(runs):
        start = clock()
        found = FORMS[form](q, k, v, tables, grid, grid)
        found.square().mean().backward()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return {"ms": 1000 * statistics.median(times), "mb": memory() - before, "mean": found.abs().mean().item()}


def memory() -> float:
    """The most megabytes so far."""
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (2**20 if sys.platform == "darwin" else 2**10)


def main(runs: int) -> None:
    """Measure, print a table, write the figures."""
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for pixels in PIXELS:
        figures[str(pixels)] = {}
        for form in FORMS:
            command = [sys.executable, __file__, str(runs), form, str(pixels)]
            found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            figures[str(pixels)][form] = json.loads(found)
        ours, plain = figures[str(pixels)]["without the matrix"], figures[str(pixels)]["plain"]
        if abs(ours["mean"] - plain["mean"]) > 1e-5:
            raise SystemExit(f"{pixels} pixels: the two forms differ: {ours['mean']} and {plain['mean']}")
        faster, smaller = ours["ms"] / plain["ms"], ours["mb"] / plain["mb"]
        print(f"{pixels:5} pixels, plain: {plain['ms']:6.0f} ms, {plain['mb']:6.0f} MB")
        print(f"        without the matrix: {ours['ms']:6.0f} ms ({faster:.2f}), {ours['mb']:6.0f} MB ({smaller:.2f})")
    about = {"device": DEVICE.type, "machine": platform.machine(), "torch": torch.__version__}
    RESULTS.write_text(json.dumps({"about": about, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]), int(sys.argv[1]))))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
