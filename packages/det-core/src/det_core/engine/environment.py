"""The environment of a run: versions, devices, command, Git state."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from det_core.engine.checkpoint import write_whole

__all__ = ["write_environment"]

# Those of det are in the resolved recipe.
_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "pycocotools", "safetensors")


def write_environment(path: Path, processes: int = 1) -> None:
    """Add a description of this process to the list in a JSON file: one entry for each start of a run."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        entries = []
    text = json.dumps(
        [*entries, _describe(processes)] if isinstance(entries, list) else [_describe(processes)], indent=1
    )
    write_whole(path, lambda temporary: temporary.write_text(text + "\n", encoding="utf-8"))


def _describe(processes: int) -> dict[str, Any]:
    accelerators = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": sys.argv,
        "processes": processes,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "accelerators": accelerators,
        "cuda": torch.version.cuda,
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "git": _git(),
    }


def _git() -> dict[str, Any] | None:
    """The commit of the working directory and the files that differ from it; None outside of a repository."""
    try:
        commit, status = (
            subprocess.run(["git", *words], capture_output=True, text=True, timeout=10, check=True).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed": [line[3:] for line in status.splitlines()][:100]}
