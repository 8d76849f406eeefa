"""How long `det --help` and `det plugins` take, beside an interpreter that imports yaml, pluggy, importlib.metadata.

The three are run in turn, so that what else the machine does falls on all of them alike; the figures are medians.
Run it with every package installed: python benchmarks/startup.py [RUNS]
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

BARE = "import yaml, pluggy, importlib.metadata"
DET = "from det_core.cli.main import main; main()"
COMMANDS = {
    "bare interpreter": [sys.executable, "-c", BARE],
    "det --help": [sys.executable, "-c", DET, "--help"],
    "det plugins": [sys.executable, "-c", DET, "plugins"],
}
LIMIT = 3.0
RESULTS = Path(__file__).parent / "results" / "startup.json"


def measure(runs: int) -> dict[str, list[float]]:
    """Seconds of each run of each command; a first round, which fills the caches, is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(runs + 1):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> int:
    """Measure, print a table, write the figures; 1 if a command takes too long."""
    seconds = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    bare = medians["bare interpreter"]
    print(f"{'':18}{'median':>10}{'fastest':>10}{'ratio':>8}   (at most {LIMIT})")
    for name, times in seconds.items():
        print(f"{name:18}{medians[name] * 1e3:8.0f} ms{min(times) * 1e3:7.0f} ms{medians[name] / bare:8.2f}")
    RESULTS.parent.mkdir(exist_ok=True)
    figures = {
        "milliseconds": {name: round(median * 1e3, 1) for name, median in medians.items()},
        "ratio": {name: round(median / bare, 2) for name, median in medians.items()},
        "limit": LIMIT,
        "runs": len(seconds["det --help"]),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "plugins": len(list(metadata.entry_points(group="det"))),
        "distributions": len(list(metadata.distributions())),
    }
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
    return int(max(medians.values()) > LIMIT * bare)


if __name__ == "__main__":
    sys.exit(main())
