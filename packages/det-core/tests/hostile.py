"""Reads hostile files in a process of its own, and says of each how it ended and what it cost."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS, MEGABYTES = 20, 300
"""Ten times the processor time that a refusal may take, against busy machines; and the memory that it may take."""

_CHILD = """
import importlib, json, resource, sys, time, warnings
from pathlib import Path
module, name, suffix = sys.argv[1:4]
read = getattr(importlib.import_module(module), name)
from det_core.errors import DetError
warm = Path(sys.argv[4])
try:
    read(warm)
except DetError:
    pass
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
if pages:
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 3 * 2**30,) * 2)
for path in map(Path, sys.argv[5:]):
    used = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + 60, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    before, start = peak(), time.process_time()
    try:
        read(path)
        kind, text = "", ""
    except DetError as error:
        kind, text = "DetError", str(error)
    except BaseException as error:
        kind, text = type(error).__name__, repr(error)[:2000]
    print(json.dumps([path.name, kind, text, time.process_time() - start, peak() - before]), flush=True)
"""


@dataclass(frozen=True)
class Ending:
    """How the reading of a file ended: the class of error ("" for none), its text, and what it cost."""

    name: str
    kind: str
    text: str
    seconds: float
    megabytes: float


def read_apart(function: str, files: Sequence[Path], sound: Path, folder: Path | None = None) -> dict[str, Ending]:
    """How each file ends by name; "module:function" is called with its path, and first with one that is sound.

    The module may lie in `folder`.
    """
    module, _, name = function.partition(":")
    command = [sys.executable, "-c", _CHILD, module, name, "", str(sound), *map(str, files)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500, cwd=folder)
    endings = [Ending(*json.loads(line)) for line in run.stdout.splitlines() if line.startswith("[")]
    missing = [path.name for path in files[len(endings) :]]
    assert not missing, f"{missing[0]} ended the process: {run.returncode} {run.stderr[-2000:]}"
    return {ending.name: ending for ending in endings}


def require_refused(ending: Ending) -> None:
    """One clear sentence, soon, and without much memory."""
    assert ending.kind == "DetError", ending
    require_bounded(ending)


def require_bounded(ending: Ending) -> None:
    """Read or refused: no traceback, soon, and without much memory."""
    assert ending.kind in ("", "DetError"), ending
    assert ending.seconds < SECONDS, ending
    assert ending.megabytes < MEGABYTES, ending
    assert len(ending.text) < 6500, ending
    assert all(character.isprintable() or character in "\n\t" for character in ending.text), ending
