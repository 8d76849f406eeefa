"""The optimizers and the fitted anchors of D2Go as nodes of a recipe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from det_core.errors import DataError
from det_core.recipes.values import location
from det_detectron2.importer.detectron2_datasets import published_dataset
from det_detectron2.importer.settings import Settings, UnsupportedError

from det_mobile.importer.settings import KMEANS

__all__ = ["fitted_anchors", "optimizer"]

_NAMES = {
    "adam": "Adam",
    "adamw": "AdamW",
    "nadam": "NAdam",
    "radam": "RAdam",
    "rmsprop": "RMSprop",
    "rprop": "Rprop",
    "asgd": "ASGD",
    "adamax": "Adamax",
    "adadelta": "Adadelta",
    "adagrad": "Adagrad",
    "sgd": "SGD",
}
_BETAS = ("adam", "adamw", "nadam", "radam", "adamax")


def optimizer(s: Settings, usual: Mapping[str, Any]) -> dict[str, Any]:
    """The node of the optimizer that SOLVER.OPTIMIZER names; `usual` is that of SGD.

    Names that end in _mt update all parameters at once, which the argument `foreach` asks for.
    """
    setting = s["SOLVER.OPTIMIZER"]
    name = str(setting).lower().removesuffix("_mt")
    if name not in _NAMES:
        found, fix = f"got {setting!r}", f"there are {', '.join(_NAMES)}, each with and without _mt"
        raise UnsupportedError("SOLVER.OPTIMIZER", "is no optimizer known here", found, fix)
    node = {"type": f"torch.optim:{_NAMES[name]}", "lr": usual["lr"]}
    if name == "sgd":
        node = dict(usual)
    elif name == "rmsprop":
        node["momentum"] = usual["momentum"]
    if name in _BETAS:
        node |= {"betas": list(s["SOLVER.BETAS"]), "eps": s["SOLVER.EPS"]}
    if name not in ("rprop", "sgd"):
        node["weight_decay"] = usual["weight_decay"]
    if name in ("adam", "adamw") and s["SOLVER.FUSED"]:
        node["fused"] = True
    elif str(setting).lower().endswith("_mt"):
        node["foreach"] = True
    return node


def fitted_anchors(s: Settings) -> dict[str, Any]:
    """The node of anchors that k-means finds among the boxes of the training data, at the size of training images.

    D2Go reads a number of augmented images; here all boxes of the annotation files count, each once, at the middle one
    of the short sides that images are resized to.

    Raises:
        UnsupportedError: the data are not known, or an annotation file is not there.
    """
    s.require(f"{KMEANS}.KMEANS_ANCHORS_ON", True)
    s.read(f"{KMEANS}.NUM_TRAINING_IMG", "MODEL.ANCHOR_GENERATOR.SIZES", "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS")
    names = s[f"{KMEANS}.DATASETS"] or s.peek("DATASETS.TRAIN")
    dataset = published_dataset(names)
    nodes = [] if dataset is None else dataset.get("datasets", [dataset])
    short, long = s.peek("INPUT.MIN_SIZE_TRAIN"), s.peek("INPUT.MAX_SIZE_TRAIN")
    side = sorted(short)[len(short) // 2] if isinstance(short, list) else short
    count, seed = s[f"{KMEANS}.NUM_CLUSTERS"], s[f"{KMEANS}.RNG_SEED"]
    fix = f"det anchors FILE --count {count} --short {side} --long {long} prints anchor_generator for the recipe"
    if not nodes or any("annotations" not in node for node in nodes):
        raise UnsupportedError(f"{KMEANS}.DATASETS", "names data that are not known here", f"got {names}", fix)
    import numpy as np

    from det_mobile.anchors.kmeans import cluster_sizes
    from det_mobile.anchors.reading import sizes_of

    try:
        files = [location(node["annotations"], Path, f"{KMEANS}.DATASETS") for node in nodes]
        sizes = np.concatenate([sizes_of(str(file), side, long) for file in files])
        anchors = cluster_sizes(sizes, count, seed=seed)
    except DataError as error:
        raise UnsupportedError(f"{KMEANS}.DATASETS", "gives no anchors", str(error), fix) from error
    shapes = [[round(float(width), 2), round(float(height), 2)] for width, height in anchors]
    node: dict[str, Any] = {"type": "det-mobile/shaped_anchors", "shapes": shapes}
    return node | s.differing({"MODEL.ANCHOR_GENERATOR.OFFSET": ("offset", 0.0)})
