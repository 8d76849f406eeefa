"""The plan of a run: which images belong to which block, for which model and settings."""

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from det_core.errors import ConfigError

from det_ray.folder import RunFolder
from det_ray.sources import Entry

if TYPE_CHECKING:
    from det_core.predict import Detector

__all__ = ["Block", "Plan", "fingerprint", "make_plan", "read_plan"]

_EXAMPLES = 12
_FORMAT = 1


@dataclass(frozen=True)
class Block:
    """A block: its number, and the rows of plan.parquet with its entries."""

    number: int
    first: int
    count: int


@dataclass(frozen=True)
class Plan:
    """The plan of a run.

    Attributes:
        about: plan.json: settings, model, versions, numbers of blocks and images (0 if unknown).
        blocks: all blocks.
    """

    about: Mapping[str, Any]
    blocks: Sequence[Block]


def fingerprint(detector: "Detector") -> str:
    """SHA-256 of the recipe, the transforms and the weights of a detector, or of its exported file."""
    from det_core.weights.sources import fetch

    total = sha256()
    recipe = detector.recipe
    if recipe is not None:
        tree = {key: value for key, value in recipe.resolved().tree.items() if key in ("model", "data")}
        total.update(json.dumps(tree, sort_keys=True, default=str).encode())
    if detector.weights:
        path = fetch(detector.weights) if "://" in detector.weights else Path(detector.weights)
        for file in sorted(path.rglob("*")) if path.is_dir() else _with_data(path):
            if file.is_file():
                total.update(sha256(file.read_bytes()).digest())
    else:
        for name, value in sorted(detector.model.state_dict().items()):
            total.update(name.encode() + value.cpu().contiguous().view(-1).numpy().tobytes())
    return total.hexdigest()


def _with_data(path: Path) -> list[Path]:
    """A model file, and those that its exporter wrote beside it: model.onnx.data, model.bin of model.xml."""
    beside = [path.with_name(path.name + ".data"), path.with_suffix(".bin"), path.with_suffix(".json")]
    return [path, *(each for each in beside if each != path and each.is_file())]


def make_plan(
    folder: RunFolder, settings: Mapping[str, Any], about: Mapping[str, Any], entries: Sequence[Entry]
) -> Plan:
    """Write a plan that divides the entries into blocks of `settings["block"]` images; a tar file has its own."""
    numbers = np.zeros(len(entries), np.int64)
    number, room = -1, 0
    for index, entry in enumerate(entries):
        if entry.length == 0 or entry.length > room:
            number, room = number + 1, settings["block"]
        room = 0 if entry.length == 0 else room - entry.length
        numbers[index] = number
    names, firsts, counts = zip(*entries, strict=True)
    table = pa.table({"block": numbers, "name": list(names), "first": list(firsts), "count": list(counts)})
    listing = sha256(json.dumps([names, firsts, counts]).encode()).hexdigest()
    unknown = 0 in counts
    more = {
        "format": _FORMAT,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "settings": dict(settings),
        "listing": listing,
        "blocks": number + 1,
        "images": 0 if unknown else sum(counts),
        "examples": sorted({int(each) for each in np.linspace(0, number, _EXAMPLES)}),
    }
    folder.write_plan({**more, **about}, table)
    return Plan({**more, **about}, _blocks(numbers))


def _blocks(numbers: "np.ndarray[Any, Any]") -> list[Block]:
    """Blocks of ascending numbers, one per entry."""
    values, firsts, counts = np.unique(numbers, return_index=True, return_counts=True)
    return [Block(*each) for each in zip(values.tolist(), firsts.tolist(), counts.tolist(), strict=True)]


def read_plan(folder: RunFolder, settings: Mapping[str, Any], model: Mapping[str, Any]) -> Plan:
    """The plan of an earlier run with the same model and settings.

    Raises:
        ConfigError: the folder holds a run with others.
    """
    about = folder.read_plan()
    different = [
        f"{name} was {about.get('settings', {}).get(name)!r}, and is {settings.get(name)!r}"
        for name in sorted({*settings, *about.get("settings", {})})
        if about.get("settings", {}).get(name) != settings.get(name)
    ]
    if about.get("model", {}).get("sha256") != model["sha256"]:
        different.append(
            f"the model was {about.get('model', {}).get('sha256', '')[:12]}, and is {model['sha256'][:12]}"
        )
    if about.get("format") != _FORMAT:
        different.append(f"its format was {about.get('format')}, and is {_FORMAT}")
    if different:
        fix = "choose another folder, or give the model and the options of that run"
        raise ConfigError("--output", f"{folder.path} holds a run with others", "; ".join(different), fix)
    numbers = pq.read_table(folder.path / "plan.parquet", columns=["block"]).column(0).to_numpy()
    return Plan(about, _blocks(numbers))
