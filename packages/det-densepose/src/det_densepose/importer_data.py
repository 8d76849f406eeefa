"""The data of the configurations of DensePose: published datasets, their classes and their meshes."""

from collections.abc import Mapping, Sequence
from typing import Any

from det_detectron2.importer.settings import Settings

from det_densepose.importer_settings import HEAD, MESHES

__all__ = ["BODIES", "DATASETS", "complete_data"]

FOLDER = "densepose"
"""The folder within the data folder that holds published meshes, their distances and symmetries."""

EVALUATION = "DENSEPOSE_EVALUATION"
BODIES = {"type": "det_densepose.bodies.published:BodyFolder", "folder": FOLDER}
READER = "det-densepose/densepose"
TRANSFORMS = "torchvision.transforms.v2"

# Numbers of categories that published configurations choose from -> names.
COCO_NAMES = {
    1: "person",
    **dict(enumerate(("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"), 16)),
}
LVIS_NAMES = {
    76: "bear",
    80: "cow",
    225: "cat",
    378: "dog",
    422: "elephant",
    496: "giraffe",
    569: "horse",
    943: "sheep",
    1202: "zebra",
}


def _node(images: str, annotations: str) -> dict[str, Any]:
    return {"type": READER, "images": images, "annotations": annotations}


DATASETS: dict[str, dict[str, Any]] = {
    **{
        f"densepose_coco_2014_{split}": _node(
            f"coco/{'train' if split == 'train' else 'val'}2014", f"coco/annotations/densepose_{file}.json"
        )
        for split, file in (
            ("train", "train2014"),
            ("valminusminival", "valminusminival2014"),
            ("minival", "minival2014"),
            ("minival_100", "minival2014_100"),
        )
    },
    **{
        f"densepose_coco_2014_{split}_cse": _node(
            f"coco/{'train' if split == 'train' else 'val'}2014", f"coco_cse/densepose_{file}_cse.json"
        )
        for split, file in (
            ("train", "train2014"),
            ("valminusminival", "valminusminival2014"),
            ("minival", "minival2014"),
            ("minival_100", "minival2014_100"),
        )
    },
    **{
        name: _node("densepose_chimps/images", f"densepose_chimps/densepose_chimps_{file}.json")
        for name, file in (
            ("densepose_chimps", "densepose"),
            ("densepose_chimps_cse_train", "cse_train"),
            ("densepose_chimps_cse_val", "cse_val"),
        )
    },
    **{
        f"posetrack2017_{split}": _node(
            "posetrack2017/posetrack_data_2017", f"posetrack2017/densepose_posetrack_{split}2017.json"
        )
        for split in ("train", "val")
    },
    **{
        f"lvis_v05_{split}": _node(f"coco/{split}2017", f"lvis/lvis_v0.5_plus_dp_{split}.json")
        for split in ("train", "val")
    },
    **{
        f"densepose_lvis_v1_{name}": _node("coco", f"lvis/densepose_lvis_v1_{name}.json")
        for name in ("ds1_train_v1", "ds1_val_v1", "ds2_train_v1", "ds2_val_v1", "ds1_val_animals_100")
    },
    **{
        f"base_coco_2017_{split}": _node(
            f"coco/{split.removesuffix('_100')}2017",
            f"coco/annotations/instances_{split.replace('_', '2017_', 1)}.json",
        )
        if "_" in split
        else _node(f"coco/{split}2017", f"coco/annotations/instances_{split}2017.json")
        for split in ("train", "val", "val_100")
    },
}


def complete_data(s: Settings, tree: dict[str, Any]) -> None:
    """Change the data of a recipe in place."""
    masks = s.peek(f"{HEAD}.COARSE_SEGM_TRAINED_BY_MASKS")
    train: dict[str, Any] = {"bad_annotations": "skip"}
    if s.peek("DATALOADER.FILTER_EMPTY_ANNOTATIONS"):
        train |= {"keep_empty": False, "keep": "points or masks" if masks else "points"}
    if masks:
        train["masks"] = "bitmaps"
    for split, key, arguments in (("train", "DATASETS.TRAIN", train), ("val", "DATASETS.TEST", {})):
        node = tree["data"].get(split)
        nodes = [] if node is None else node["datasets"] if node["type"] == "concat" else [node]
        for each, name in zip(nodes, s.peek(key) if nodes else (), strict=True):  # none where a name is not known
            if each["type"] == READER:
                each |= {**_categories(s, name), "bodies": FOLDER, **arguments}
    if (pseudo := _pseudo_labels(s, train)) and "train" in tree["data"]:
        weights = [1.0, *(ratio for _, ratio in pseudo)]
        nodes = [tree["data"]["train"], *(node for node, _ in pseudo)]
        tree["data"]["train"] = {"type": "concat", "datasets": nodes, "weights": weights}
    if rotation := _rotation(s):
        tree["data"]["train_transforms"] = [*tree["data"].get("train_transforms", ()), rotation]
    s.read(*(key for key in s.given if key.startswith(f"{MESHES}.")))
    _read_of_others(s)
    if "val" in tree["data"]:
        tree["data"]["evaluators"] = [{"type": "coco"}, _evaluator(s)]


def _rotation(s: Settings) -> dict[str, Any] | None:
    """The transform that rotates an image by one of several angles, drawn evenly; None where all of them are 0."""
    angles = [float(angle) for angle in s["INPUT.ROTATION_ANGLES"]]
    rotations = [_rotated_by(angle) for angle in angles]
    if not any(angle % 360 for angle in angles):
        return None
    return rotations[0] if len(rotations) == 1 else {"type": f"{TRANSFORMS}:RandomChoice", "transforms": rotations}


def _rotated_by(angle: float) -> dict[str, Any]:
    if not angle % 360:
        return {"type": "torch.nn:Identity"}
    return {"type": f"{TRANSFORMS}:RandomRotation", "degrees": [angle, angle], "interpolation": "bilinear"}


def _pseudo_labels(s: Settings, train: Mapping[str, Any]) -> list[tuple[dict[str, Any], float]]:
    """The pseudo-labels of unlabelled data that train a model, each with its ratio to the annotated data.

    Published training draws them while it runs; here `det densepose bootstrap` writes them into a file beforehand, so
    that of its settings the recipe needs the ratio and the name of the sampler alone.
    """
    s.read(*(key for key in s.given if key.startswith("BOOTSTRAP_")))
    datasets = []
    for entry in _bootstrap_datasets(s):
        name, kind = entry["DATASET"], entry.get("DATA_SAMPLER", {}).get("TYPE", "densepose_uniform")
        node = _node(f"{name}/frames", f"{name}/{kind.removeprefix('densepose_')}.json")
        datasets.append(({**node, "bodies": FOLDER, **train}, float(entry.get("RATIO", 0.1))))
    return datasets


def _bootstrap_datasets(s: Settings) -> list[Mapping[str, Any]]:
    """The entries of BOOTSTRAP_DATASETS, a list in files and keys with numbers in resolved settings."""
    key = "BOOTSTRAP_DATASETS"
    entries: list[Mapping[str, Any]] = list(s.peek(key))
    for number in sorted({each.split(".")[1] for each in s.given if each.startswith(f"{key}.")}, key=int):
        prefix = f"{key}.{number}."
        kind = s.given.get(f"{prefix}DATA_SAMPLER.TYPE", "densepose_uniform")
        values = {name: s.given[f"{prefix}{name}"] for name in ("DATASET", "RATIO") if f"{prefix}{name}" in s.given}
        entries.append({**values, "DATA_SAMPLER": {"TYPE": kind}})
    return [entry for entry in entries if isinstance(entry, Mapping) and entry.get("DATASET")]


def _evaluator(s: Settings) -> dict[str, Any]:
    """The evaluator of surfaces. It scores images while they come, so that nothing is stored or sent for it."""
    s.read(*(f"{EVALUATION}.{name}" for name in ("TYPE", "STORAGE", "DISTRIBUTED_INFERENCE")))
    node: dict[str, Any] = {"type": "det-densepose/densepose", "bodies": FOLDER}
    node |= s.differing({f"{EVALUATION}.MIN_IOU_THRESHOLD": ("min_similarity", 0.5)})
    if s[f"{EVALUATION}.EVALUATE_MESH_ALIGNMENT"]:
        node["key_vertices"] = f"{FOLDER}/mesh_keyvertices_v0.json"
        s.read(f"{EVALUATION}.MESH_ALIGNMENT_MESH_NAMES")  # the file names the meshes
    return node


def _categories(s: Settings, name: str) -> dict[str, Any]:
    """Which categories of a published dataset are used, and what they become."""
    category_ids = s.given.get(f"DATASETS.WHITELISTED_CATEGORIES.{name}")
    prefix = f"DATASETS.CATEGORY_MAPS.{name}."
    becomes = {int(key.removeprefix(prefix)): value for key, value in s.given.items() if key.startswith(prefix)}
    s.read(f"DATASETS.WHITELISTED_CATEGORIES.{name}", *(f"{prefix}{number}" for number in becomes))
    names = LVIS_NAMES if "lvis_v1" in name else COCO_NAMES
    node: dict[str, Any] = {}
    if category_ids is not None:
        merged = sorted({becomes.get(number, number) for number in category_ids})
        node["classes"] = [names.get(number, str(number)) for number in merged]
    if becomes:
        node["class_map"] = _named(becomes, names)
    if len(set(meshes := _meshes(s))) > 1 and len(meshes) == len(node.get("classes", ())):
        node["class_meshes"] = dict(zip(node["classes"], meshes, strict=True))
    elif meshes and "classes" in node:
        node["class_meshes"] = dict.fromkeys(node["classes"], meshes[0])
    return node


def _meshes(s: Settings) -> Sequence[str]:
    """The mesh of each class, in order of the labels."""
    keys = [f"{MESHES}.{number}" for number in range(s.peek("MODEL.ROI_HEADS.NUM_CLASSES"))]
    return [s.given[key] for key in keys if key in s.given]


def _named(numbers: Mapping[int, int], names: Mapping[int, str]) -> dict[str, str]:
    return {names.get(one, str(one)): names.get(other, str(other)) for one, other in numbers.items()}


def _read_of_others(s: Settings) -> None:
    """Count settings as read that are for datasets which the configuration does not use."""
    used = {*s.peek("DATASETS.TRAIN"), *s.peek("DATASETS.TEST")}
    for section in ("DATASETS.WHITELISTED_CATEGORIES.", "DATASETS.CATEGORY_MAPS."):
        s.read(*(key for key in s.given if key.startswith(section) and key.split(".")[2] not in used))
