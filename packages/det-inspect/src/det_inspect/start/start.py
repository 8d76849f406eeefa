"""`det start`: from the annotations of a folder to a split dataset and a commented recipe."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from det_core.errors import DataError
from det_core.recipes import Recipe, load

from det_inspect.start.asking import Answers
from det_inspect.start.flips import choose_flips
from det_inspect.start.formats import Recognized, recognize
from det_inspect.start.gather import Gathered, gather
from det_inspect.start.measure import choose_task, measure
from det_inspect.start.split import Shares, divide, overlaps
from det_inspect.start.template import choose, recipe_text
from det_inspect.start.tree import Tree
from det_inspect.start.weights import find_weights

__all__ = ["Options", "Started", "gathered_splits", "start", "write_splits"]

_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Options:
    """How to read and divide a folder.

    Attributes:
        form: the format, where a folder has several; None: the only one.
        shares: fractions of validation and test images, where the files define no split.
        seed: random seed of the split.
        answers: answers to questions that the files leave open.
        weights: a file to begin with; None: ImageNet's.
        track: shows progress, as `det data check` has it.
    """

    form: str | None = None
    shares: Shares = field(default_factory=Shares)
    seed: int = 0
    answers: Answers = field(default_factory=Answers)
    weights: Path | None = None
    track: Any = None


@dataclass(frozen=True)
class Started:
    """Recognized data and written files.

    Attributes:
        recipe: checked recipe for the data.
        file: path of the recipe's file.
        form: the format as a title.
        task: detect, segment, pose or rotated.
        counts: split -> (images, objects).
        classes: names of the classes; the label is the index.
        notes: skipped entries, and other notes for the user.
    """

    recipe: Recipe
    file: Path
    form: str
    task: str
    counts: Mapping[str, tuple[int, int]]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def start(tree: Tree, output: Path, options: Options) -> Started:
    """Write a recipe for the pictures and annotations of `tree`, and the files of its splits beside it.

    Args:
        tree: a folder, or a file of annotations beside or above its pictures.
        output: the recipe's file; annotations are written to OUTPUT_train.json and so on, unless COCO files are there.
        options: choices of the user and defaults.

    Raises:
        DataError: there is nothing to learn from, or splits do not fit together.
        ConfigError: something is unclear and no one can be asked.
    """
    gathered, recognized = gathered_splits(tree, options)
    task = choose_task(gathered, options.answers, recognized.task)
    flips, reason = choose_flips(
        options.answers, task, gathered.classes, gathered.keypoints, _has_pairs(gathered.keypoints)
    )
    figures = measure(gathered)
    weights = find_weights(options.weights)
    choices = choose(figures, task, flips, reason, bool(weights.source))
    output.parent.mkdir(parents=True, exist_ok=True)
    base = _base(output)
    data = {
        split: {"type": "coco", **_named(gathered, split, file, base), **_kind(gathered, task)}
        for split, file in write_splits(gathered, output.parent, output.stem).items()
    }
    local = "://" not in weights.source and bool(weights.source)
    written = weights if not local else type(weights)(str(_location(Path(weights.source), base)), weights.origin)
    title = f"{recognized.title} in {_location(tree.place, base)}"
    text = recipe_text(choices, figures, written, gathered.classes, gathered.keypoints, data, title)
    output.write_text(text, "utf-8")
    notes = list(gathered.notes)
    if not weights.source:
        notes.append(
            f"no weights to begin with: {weights.origin}; the recipe trains from random values, three times as"
        )
        notes[-1] += " long and not as well: --weights FILE gives some"
    counts = {split: (len(gathered.images[split]), len(gathered.objects[split])) for split in data}
    return Started(load(output).check(), output, recognized.title, task, counts, gathered.classes, tuple(notes))


def gathered_splits(tree: Tree, options: Options) -> tuple[Gathered, Recognized]:
    """The annotations of a folder in splits of one dataset, with those that were missing drawn."""
    recognized = recognize(tree, options.answers, options.form, options.answers.value("--task") or None)
    parts = dict(recognized.parts)
    if "" in parts and len(parts) > 1:
        raise DataError(
            str(tree.place),
            "has pictures in splits and others in none",
            f"{', '.join(sorted(filter(None, parts)))} beside {parts[''][0].annotations}",
            "move these into a split, or name the folder or file to use",
        )
    if "train" not in parts and "" not in parts:
        parts = {"": [each for listings in parts.values() for each in listings]}
    gathered = gather(_root(tree, parts), parts, options.track)
    if len(gathered.images) > 1:
        gathered.notes += overlaps(gathered.images, gathered.root, options.track)
    if "val" not in gathered.images:
        _divide(gathered, options)
    empty = [split for split in _SPLITS if split in gathered.images and not gathered.objects[split]]
    if "train" in empty or "val" in empty:
        raise DataError(str(tree.place), f"has no object in its {empty[0]} pictures", "; ".join(gathered.notes[:3]))
    return gathered, recognized


def _root(tree: Tree, parts: Mapping[str, Any]) -> Path:
    """The folder of the data, or a folder above it where a file names pictures elsewhere."""
    folders = [listing.images for listings in parts.values() for listing in listings]
    if all(folder.is_relative_to(tree.root) for folder in folders):
        return tree.root
    return Path(os.path.commonpath([str(each.resolve()) for each in folders]))


def _divide(gathered: Gathered, options: Options) -> None:
    """Draw validation, and test if asked for, from the training or undivided pictures."""
    source = "train" if "train" in gathered.images else ""
    images, objects = gathered.images.pop(source), gathered.objects.pop(source)
    gathered.originals.pop(source, None)
    by_image: dict[int, list[dict[str, Any]]] = {}
    for each in objects:
        by_image.setdefault(each["image_id"], []).append(each)
    labels = {number: [each["category_id"] for each in records] for number, records in by_image.items()}
    shares = Shares(options.shares.val, 0.0) if "test" in gathered.images else options.shares
    splits, notes = divide(images, labels, gathered.root, shares, options.seed, options.track)
    gathered.notes += notes
    others = {split: (gathered.images[split], gathered.objects[split]) for split in gathered.images}
    divided = {
        split: (
            [images[place] for place in places],
            [each for place in places for each in by_image.get(images[place]["id"], ())],
        )
        for split, places in splits.items()
    }
    everything = divided | others
    gathered.images = {split: everything[split][0] for split in _SPLITS if split in everything}
    gathered.objects = {split: everything[split][1] for split in _SPLITS if split in everything}


def write_splits(gathered: Gathered, folder: Path, stem: str) -> dict[str, Path]:
    """The file of annotations of each split: the original one, or STEM_split.json in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for split in (each for each in _SPLITS if each in gathered.images):
        if split in gathered.originals:
            files[split], _ = gathered.originals[split]
        else:
            files[split] = folder / f"{stem}_{split}.json"
            files[split].write_text(json.dumps(gathered.content(split)), "utf-8")
    return files


def _named(gathered: Gathered, split: str, file: Path, base: Path | None) -> dict[str, str]:
    _, images = gathered.originals.get(split, (file, gathered.root))
    return {"images": str(_location(images, base)), "annotations": str(_location(file, base))}


def _kind(gathered: Gathered, task: str) -> dict[str, Any]:
    """The arguments of a COCO dataset that a task needs."""
    if task == "segment":
        rle = any(isinstance(each.get("segmentation"), dict) for each in gathered.all_objects())
        return {"masks": "bitmaps" if rle else "polygons"}
    return {"pose": {"keypoints": True}, "rotated": {"rotated": True}}.get(task, {})


def _base(output: Path) -> Path | None:
    """The folder that paths in a recipe start from: DET_DATA, or the current one if the recipe is below; else None."""
    if folder := os.environ.get("DET_DATA"):
        return Path(folder).resolve()
    return Path.cwd() if output.resolve().is_relative_to(Path.cwd()) else None


def _location(path: Path, base: Path | None) -> Path:
    """A path from `base` if it is below, else an absolute one."""
    resolved = path.resolve()
    return resolved.relative_to(base) if base and resolved.is_relative_to(base) else resolved


def _has_pairs(keypoints: tuple[str, ...]) -> bool:
    return any("left" in name and name.replace("left", "right", 1) in keypoints for name in keypoints)
