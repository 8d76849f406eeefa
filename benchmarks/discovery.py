"""What the plugin layer costs: discovery with 0 to 200 plugins more, and building a model from a recipe.

Every figure is from an interpreter of its own: processor time, and memory that it took from the system. Those that are
compared run in turn, so that what else the machine does falls on all of them alike; the figures are medians.
Run it with: python benchmarks/discovery.py [RUNS]
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

COUNTS = (0, 10, 50, 200)
LIMIT = 8.0  # how much longer 200 plugins may take than none
RESULTS = Path(__file__).parent / "results" / "discovery.json"

MEASURE = """
import json, resource, sys, time
{before}
def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 ** 2 if sys.platform == "darwin" else 1024)
start, memory_before = time.process_time(), memory()
{measured}
seconds, megabytes = time.process_time() - start, memory() - memory_before
{after}
print(json.dumps({{"milliseconds": seconds * 1e3, "megabytes": megabytes, **more}}))
"""
DISCOVER = MEASURE.format(
    before="import pluggy, importlib.metadata\nfrom det_core import plugins",
    measured="found = plugins.catalog()",
    after="""
assert not found.problems, found.problems
more = {"plugins": len(found.plugins)}
start = time.process_time()
plugins.catalog()
more["milliseconds of asking again"] = (time.process_time() - start) * 1e3
""",
)
BEFORE_BUILDING = """
import torch, det_core.models
from det_core.backbones import FPN, ResNet
from det_core.recipes import Factory
def direct():
    backbone = FPN(ResNet(depth=50))
    given = {"mean": (103.53, 116.28, 123.675), "std": (1.0, 1.0, 1.0), "channel_order": "BGR"}
    return det_core.models.faster_rcnn(backbone, 80, preprocess=Factory(det_core.models.Normalize, **given))
def recipe():
    from det_core import recipes
    return recipes.load("faster_rcnn_r50_fpn_1x").build_model()
"""
AFTER_BUILDING = """
again = {"direct": [], "recipe": []}
for _ in range(5):
    for way in (direct, recipe):
        start = time.process_time()
        with torch.device("meta"):
            other = way()
        again[way.__name__].append((time.process_time() - start) * 1e3)
assert str(model) == str(other) and model.state_dict().keys() == other.state_dict().keys()
more = {"again": again}
"""
BUILD = {
    way: MEASURE.format(
        before=BEFORE_BUILDING, measured=f"with torch.device('meta'):\n    model = {way}()", after=AFTER_BUILDING
    )
    for way in ("direct", "recipe")
}


def write_plugins(folder: Path, count: int) -> None:
    """Put as many plugins there as an installer would leave: a module and its metadata, five names each."""
    for number in range(count):
        name = f"made_{number:03}"
        names = {f"{name}_{letter}": f"{name}_parts:{letter.upper()}" for letter in "abcd"}
        hooks = f"@hookimpl\ndef det_backbones(): return {names!r}\n"
        hooks += f"@hookimpl\ndef det_recipes(): return {{'{name}': '{name}:r.yaml'}}\n"
        (folder / f"{name}.py").write_text(f"from det_core.plugins.hooks import hookimpl\n{hooks}")
        record = folder / f"{name}-1.0.dist-info"
        record.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", "Requires-Dist: det-core>=0.1,<9"]
        (record / "METADATA").write_text("\n".join(lines) + "\n\n" + "A long description.\n" * 100)
        (record / "entry_points.txt").write_text(f"[det]\n{name} = {name}\n")


def figures(code: str, path: Path | None = None) -> dict:
    """What one interpreter measured."""
    environment = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def median(runs: list[dict], key: str) -> float:
    """The middle one of all runs."""
    return statistics.median(run[key] for run in runs)


def discovery(runs: int) -> dict[str, dict[str, float]]:
    """Time and memory of finding what is installed, by the number of plugins added to it."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = {count: Path(temporary) / str(count) for count in COUNTS}
        for count, folder in folders.items():
            folder.mkdir()
            write_plugins(folder, count)
        measured: dict[int, list[dict]] = {count: [] for count in COUNTS}
        for turn in range(runs + 1):
            for count, folder in folders.items():
                found = figures(DISCOVER, folder)
                if turn:  # the first round fills the caches
                    measured[count].append(found)
    none = median(measured[0], "milliseconds")
    return {
        str(count): {
            "milliseconds": round(median(each, "milliseconds"), 1),
            "ratio": round(median(each, "milliseconds") / none, 2),
            "milliseconds per plugin added": round((median(each, "milliseconds") - none) / count, 2) if count else 0.0,
            "megabytes": round(median(each, "megabytes"), 1),
            "milliseconds of asking again": round(median(each, "milliseconds of asking again"), 4),
        }
        for count, each in measured.items()
    }


def building(runs: int) -> dict[str, dict[str, float]]:
    """Time and memory of building Faster R-CNN (R50-FPN) without memory for its weights, by constructors and recipe."""
    measured: dict[str, list[dict]] = {way: [] for way in BUILD}
    for _ in range(runs):
        for way, code in BUILD.items():
            measured[way].append(figures(code))
    again = {
        way: statistics.median(t for each in measured.values() for run in each for t in run["again"][way])
        for way in BUILD
    }
    direct = median(measured["direct"], "milliseconds")
    return {
        way: {
            "milliseconds of the first": round(median(each, "milliseconds"), 1),
            "ratio of the first": round(median(each, "milliseconds") / direct, 2),
            "milliseconds of the next": round(again[way], 1),
            "ratio of the next": round(again[way] / again["direct"], 2),
            "megabytes": round(median(each, "megabytes"), 1),
        }
        for way, each in measured.items()
    }


def show(title: str, table: dict[str, dict[str, float]]) -> None:
    """Print a table, a row for each entry."""
    columns = list(next(iter(table.values())))
    print(f"\n{title:12}" + "".join(f"{column:>32}" for column in columns))
    for name, row in table.items():
        print(f"{name:12}" + "".join(f"{value:>32}" for value in row.values()))


def main() -> int:
    """Measure, print the tables, write the figures; 1 if many plugins cost too much."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    found, built = discovery(runs), building(max(3, runs // 3))
    show("plugins", found)
    show("built by", built)
    about = {
        "limit": LIMIT,
        "runs": runs,
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
        "cpus": os.cpu_count(),
        "distributions": len(list(metadata.distributions())),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"discovery": found, "building": built, **about}, indent=2) + "\n")
    return int(found[str(COUNTS[-1])]["ratio"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
