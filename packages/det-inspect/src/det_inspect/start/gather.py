"""All splits as COCO files of one dataset: the same classes, sound objects, pictures that are there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from det_core.data.formats.coco_checks import AnnotationCheck, category_fault, faults_of, image_fault, sound
from det_core.data.formats.listing import Listing
from det_core.data.images import file_of, image_size
from det_core.errors import DataError

from det_inspect.counting import counted

__all__ = ["Gathered", "gather"]

_Record = dict[str, Any]


@dataclass
class Gathered:
    """Images and objects of every split, of one list of classes.

    Attributes:
        root: the folder that file names start from.
        classes: names of the classes; the label is the index.
        images: split -> entries of a COCO file, with ids that count from 1 over all splits.
        objects: split -> entries; `category_id` counts from 1.
        keypoints: names of the keypoints; empty without.
        notes: a sentence for each kind of thing that was left out or is unusual.
        originals: split -> the file of annotations and its folder of images, where they can be used unchanged.
    """

    root: Path
    classes: tuple[str, ...]
    images: dict[str, list[_Record]] = field(default_factory=dict)
    objects: dict[str, list[_Record]] = field(default_factory=dict)
    keypoints: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    originals: dict[str, tuple[Path, Path]] = field(default_factory=dict)

    def content(self, split: str) -> Mapping[str, Any]:
        """The COCO file of a split."""
        points = {"keypoints": list(self.keypoints)} if self.keypoints else {}
        categories = [{"id": number, "name": name, **points} for number, name in enumerate(self.classes, 1)]
        return {"images": self.images[split], "annotations": self.objects[split], "categories": categories}

    def all_objects(self) -> Iterable[_Record]:
        """The objects of all splits."""
        return (each for objects in self.objects.values() for each in objects)


def gather(root: Path, parts: Mapping[str, list[Listing]], track: Any = None) -> Gathered:
    """The splits of `parts` with common classes, without entries that cannot be used, which notes count.

    Raises:
        DataError: a class of validation or test does not occur in training, or no object is left.
    """
    categories = {split: [_categories(each) for each in listings] for split, listings in parts.items()}
    classes = _classes(root, parts, categories)
    gathered = Gathered(root, classes)
    gathered.keypoints = _keypoint_names(root, categories, classes)
    for split, listings in parts.items():
        gathered.images[split], gathered.objects[split] = [], []
        for listing, listed in zip(listings, categories[split], strict=True):
            before = len(gathered.notes)
            _add(gathered, split, listing, listed, track)
            clean = len(gathered.notes) == before and listing.own_ids and len(listings) == 1 and split
            same = tuple(each["name"] for each in listed) == classes
            if clean and same and len(listed) == len(listing.content["categories"]):
                gathered.originals[split] = listing.annotations, listing.images
    if not any(gathered.objects.values()):
        notes = "; ".join(gathered.notes)
        raise DataError(str(root), "has no object to learn from", notes, "draw at least a few boxes first")
    return gathered


def _categories(listing: Listing) -> list[_Record]:
    """The categories of a file without the one that only names the others, as Roboflow's exports have it."""
    categories = sound(listing.content["categories"], "category", category_fault(), listing.annotations)[0]
    used = {each.get("category_id") for each in listing.content.get("annotations", ()) if isinstance(each, dict)}
    above = {each.get("supercategory") for each in categories}
    return [each for each in categories if each["id"] in used or each["name"] not in above or len(categories) == 1]


def _classes(
    root: Path, parts: Mapping[str, list[Listing]], categories: Mapping[str, list[list[_Record]]]
) -> tuple[str, ...]:
    names = {split: dict.fromkeys(c["name"] for listed in lists for c in listed) for split, lists in categories.items()}
    train = names.get("train")
    if train is not None:
        for split, listed in names.items():
            if foreign := [name for name in listed if name not in train]:
                near = {name: get_close_matches(name, train, 1) for name in foreign}
                detail = ", ".join(f"{n!r}" + (f" (train has {near[n][0]!r})" if near[n] else "") for n in foreign[:8])
                fix = "give objects of one kind the same name in all splits"
                problem = f"{split} has {_count(foreign, 'class', 'es')} that train lacks"
                raise DataError(str(root), problem, detail, fix)
    ordered = list(dict.fromkeys(name for listed in (train or {}, *names.values()) for name in listed))
    if not ordered:
        raise DataError(str(root), "names no class", fix="draw at least a few boxes first")
    return tuple(ordered)


def _keypoint_names(
    root: Path, categories: Mapping[str, list[list[_Record]]], classes: Sequence[str]
) -> tuple[str, ...]:
    lists = {
        tuple(each["keypoints"])
        for files in categories.values()
        for listed in files
        for each in listed
        if each["name"] in classes and each.get("keypoints")
    }
    if len(lists) > 1:
        detail = " and ".join(str(len(names)) for names in sorted(lists)[:3])
        raise DataError(str(root), "has classes with different keypoints", detail, "train one recipe for each of them")
    return next(iter(lists), ())


def _add(gathered: Gathered, split: str, listing: Listing, categories: Sequence[_Record], track: Any) -> None:
    """Add the usable images and objects of one listing, and notes on the rest."""
    label = f"{split}: " if split else ""
    images = _usable_images(gathered, listing, label, track)
    numbers = {name: number for number, name in enumerate(gathered.classes, 1)}
    ids = {each["id"]: numbers[each["name"]] for each in categories if each["name"] in numbers}
    records = [
        {**each, "id": each.get("id", f"number {place}")} if isinstance(each, dict) else each
        for place, each in enumerate(listing.content.get("annotations", ()), 1)
    ]
    listed = [each for each in records if isinstance(each, dict) and each.get("image_id") in images]
    rotated = any(isinstance(each.get("bbox"), list) and len(each["bbox"]) == 5 for each in listed)
    check = AnnotationCheck(
        rows={image: row for row, image in enumerate(images)},
        sizes=[(entry["height"], entry["width"]) for entry in images.values()],
        category_ids=set(ids),
        masks=None,
        num_keypoints=None,
        rotated=rotated,
    )
    good, faults = sound(listed, "annotation", check, listing.annotations, "skip")
    for kind, sentences in (("object", faults), ("file or line", [str(fault) for fault in listing.faults])):
        if sentences:
            gathered.notes.append(f"{label}{_count(sentences, kind)} left out: {_some(sentences)}")
    gathered.notes += [f"{label}{what}: {count}" for what, count in listing.left_out.items() if count]
    first = sum(map(len, gathered.images.values()))
    renumbered = {image: first + row for row, image in enumerate(images, 1)}
    gathered.images[split] += [{**entry, "id": renumbered[image]} for image, entry in images.items()]
    count = sum(map(len, gathered.objects.values()))
    for number, each in enumerate(good, count + 1):
        category, image = ids[each["category_id"]], renumbered[each["image_id"]]
        gathered.objects[split].append({**_record_of(each), "id": number, "image_id": image, "category_id": category})


def _record_of(record: _Record) -> _Record:
    """An object with the keys of COCO annotations."""
    x, y, w, h, *angle = record["bbox"]
    area = record.get("area", w * h)
    others = {key: record[key] for key in ("segmentation", "keypoints", "num_keypoints") if record.get(key)}
    return {"bbox": [x, y, w, h, *angle], "area": area, "iscrowd": int(record.get("iscrowd") or 0), **others}


def _usable_images(gathered: Gathered, listing: Listing, label: str, track: Any) -> dict[Any, _Record]:
    """The pictures that are there and can be opened, by id, with names from the root; notes count the others."""
    missing: list[str] = []
    broken: list[str] = []
    sizes: list[str] = []
    usable: dict[Any, _Record] = {}
    entries = [{"height": 1, "width": 1, **each} for each in listing.content["images"] if isinstance(each, dict)]
    for name, entry, fault in faults_of(_sized(entries), "image", image_fault):
        if fault is not None:
            broken.append(f"{name} {fault.text}")
            continue
        file = file_of(listing.images, entry["file_name"])
        try:
            height, width = image_size(file)
        except DataError as error:
            (broken if file.exists() else missing).append(f"{error.where} {error.problem}")
            continue
        listed = (entry.get("listed_height"), entry.get("listed_width"))
        if all(isinstance(side, int) and side > 0 for side in listed) and listed != (height, width):
            sizes.append(f"{file.name} is {width} x {height}, not {listed[1]} x {listed[0]}")
            continue
        path = file.relative_to(gathered.root).as_posix() if file.is_relative_to(gathered.root) else str(file)
        usable[entry["id"]] = {"file_name": path, "height": height, "width": width}
    for what, examples in (
        ("picture that is not there", missing),
        ("picture that cannot be read", broken),
        ("picture of another size than its annotations", sizes),
    ):
        if examples:
            plural = what.replace("picture", "pictures", 1).replace("is not", "are not")
            words = what if len(examples) == 1 else plural
            gathered.notes.append(f"{label}{len(examples)} {words}, left out: {_some(examples)}")
    return usable


def _sized(entries: Sequence[_Record]) -> list[_Record]:
    """The entries, with sizes that pass as such; those listed are compared with the pictures."""
    return [
        {**each, "height": 1, "width": 1, "listed_height": each["height"], "listed_width": each["width"]}
        for each in entries
    ]


def _count(things: Sequence[Any], one: str, more: str = "s") -> str:
    plural = one.replace("file or line", "files or lines") if one == "file or line" else f"{one}{more}"
    return counted(len(things), one, plural)


def _some(sentences: Sequence[str]) -> str:
    rest = f"; and {len(sentences) - 3} more" if len(sentences) > 3 else ""
    return "; ".join(sentences[:3]) + rest
