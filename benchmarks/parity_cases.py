"""How long each recorded case takes, and how much memory: what stands in docs/testing.md.

Each case runs in a process of its own, so that its peak memory is its own; the time is that of the comparison, which
makes the weights, builds the model twice, predicts, learns and compares; starting python and torch is not counted.
Seconds are of wall clock, and of the processor, of which a busy machine takes no more than a quiet one.
Figures of cases that are not named stay. Cases of plugins need these installed.
Run it from the repository: python benchmarks/parity_cases.py [CASE ...]
"""

import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import torch

ROOT = Path(__file__).resolve().parents[1]
CASES = ROOT / "tests" / "reference" / "cases"
RESULTS = Path(__file__).parent / "results" / "parity_cases.json"


def load(path: Path) -> ModuleType:
    """A module from its file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str) -> dict[str, float]:
    """Compare one case, here; its seconds and its gigabytes at most."""
    runner, refpack = load(ROOT / "tests" / "parity" / "runner.py"), load(ROOT / "tests" / "reference" / "refpack.py")
    start, busy = time.perf_counter(), time.process_time()
    case = refpack.Case(name, CASES)
    zoo = runner.zoo_beside(CASES)
    failures = refpack.compare(
        case.expected, runner.run_case(case.spec, case.inputs, case.images(), case.state_dict(), zoo)
    )
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(busy, 1),
        "gigabytes": round(peak / 1e9, 1),
        "differences": len(failures),
        "threads": torch.get_num_threads(),
    }


def main() -> int:
    """Run the cases one after the other, print a table, write the figures; 1 if one differs."""
    if sys.argv[1:2] == ["--here"]:
        print(json.dumps(run(sys.argv[2])))
        return 0
    names = sys.argv[1:] or sorted(path.name.removesuffix(".json.gz") for path in CASES.glob("*.json.gz"))
    figures = json.loads(RESULTS.read_text())["cases"] if RESULTS.exists() else {}
    about = {"python": platform.python_version(), "cpus": os.cpu_count()}
    RESULTS.parent.mkdir(exist_ok=True)
    print("| case | seconds | processor | memory |\n| --- | ---: | ---: | ---: |")
    for name in names:
        done = subprocess.run([sys.executable, __file__, "--here", name], check=True, capture_output=True, text=True)
        own = figures[name] = json.loads(done.stdout.splitlines()[-1])
        times = f"{own['seconds']:.0f} | {own['processor_seconds']:.0f}"
        print(f"| `{name}` | {times} | {own['gigabytes']:.1f} GB |", flush=True)
        RESULTS.write_text(json.dumps({"cases": dict(sorted(figures.items())), **about}, indent=2) + "\n")
    return int(any(figures[name]["differences"] for name in names))


if __name__ == "__main__":
    sys.exit(main())
