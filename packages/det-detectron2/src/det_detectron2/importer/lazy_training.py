"""Data and solver of Detectron2's Python configurations as settings of its YAML configurations.

Arguments without a counterpart stay unread, so that the importer lists them.
"""

import sys
from itertools import pairwise
from typing import Any

from det_detectron2.importer.lazy_objects import Objects

__all__ = ["adamw", "settings_of_training", "transforms"]


def settings_of_training(o: Objects) -> dict[str, Any]:
    """The settings equivalent to everything outside "model"."""
    settings = {**_data(o), **_solver(o)}
    return {name: value for name, value in settings.items() if value is not None}


def _data(o: Objects) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for split, key in (("train", "DATASETS.TRAIN"), ("test", "DATASETS.TEST")):
        name = o(f"dataloader.{split}.dataset.names", None)
        settings[key] = [name] if isinstance(name, str) else name
    o.ignore("dataloader.train.kind", "dataloader.train.dataset.kind")
    o.ignore("dataloader.test.kind", "dataloader.test.dataset", "dataloader.test.num_workers", "dataloader.evaluator")
    for split in ("train", "test"):
        o.ignore(*(f"dataloader.{split}.mapper.{name}" for name in ("kind", "is_train", "image_format")))
        # The model determines which annotations are read; keypoints are swapped in flips by name.
        o.ignore(f"dataloader.{split}.mapper.use_instance_mask", f"dataloader.{split}.mapper.use_keypoint")
        o.ignore(f"dataloader.{split}.mapper.keypoint_hflip_indices")
    path = "dataloader.train.sampler"
    if o.given.get(f"{path}.kind") == "RepeatFactorTrainingSampler":
        settings["DATALOADER.SAMPLER_TRAIN"] = o(f"{path}.kind")
        settings["DATALOADER.REPEAT_THRESHOLD"] = o(f"{path}.repeat_factors.repeat_thresh")
        settings["DATALOADER.REPEAT_SQRT"] = o(f"{path}.repeat_factors.sqrt", True)
        o.ignore(f"{path}.repeat_factors.kind", f"{path}.repeat_factors.dataset_dicts")
    if o.given.get("dataloader.train.mapper.recompute_boxes"):
        o.ignore("dataloader.train.mapper.recompute_boxes")  # boxes are always recomputed from masks after crops
    return settings | {
        "DATALOADER.FILTER_EMPTY_ANNOTATIONS": o("dataloader.train.dataset.filter_empty", None),
        "DATALOADER.NUM_WORKERS": o("dataloader.train.num_workers", None),
        "MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE": o("dataloader.train.dataset.min_keypoints", 0),
        "SOLVER.IMS_PER_BATCH": o("dataloader.train.total_batch_size", None),
    }


def transforms(o: Objects, split: str) -> list[dict[str, Any]]:
    """Transforms of a split, "train" or "test"; unsupported ones stay unread."""
    return _transforms(o, f"dataloader.{split}.mapper.augmentations")


def _transforms(o: Objects, path: str) -> list[dict[str, Any]]:
    nodes = []
    for each in (f"{path}.{number}" for number in range(o.count(path))):
        kind = o.given[f"{each}.kind"]
        if kind in _TRANSFORMS and (node := _TRANSFORMS[kind](o, each)):
            o(f"{each}.kind")
            nodes.append(node)
    return nodes


def _shortest_edge(o: Objects, path: str) -> dict[str, Any]:
    node = {"type": "det_core.data:ResizeShortestEdge", "size": o(f"{path}.short_edge_length")}
    node["max_size"] = o(f"{path}.max_size", sys.maxsize)
    if o(f"{path}.sample_style", "range") == "range" and not isinstance(node["size"], int):
        node["draw"] = "range"
    return node


def _flip(o: Objects, path: str) -> dict[str, Any] | None:
    if o.given.get(f"{path}.prob", 0.5) != 0.5:
        return None
    vertical = o(f"{path}.vertical", False)
    o.ignore(f"{path}.horizontal", f"{path}.prob")
    return {"type": f"torchvision.transforms.v2:Random{'Vertical' if vertical else 'Horizontal'}Flip"}


def _jitter(o: Objects, path: str) -> dict[str, Any]:
    size = [o(f"{path}.target_height"), o(f"{path}.target_width")]
    return {
        "type": "det_core.data:ScaleJitter",
        "size": size,
        "scale": [o(f"{path}.{n}_scale") for n in ("min", "max")],
    }


def _fixed_crop(o: Objects, path: str) -> dict[str, Any]:
    node = {"type": "det_core.data:FixedSizeCrop", "size": list(o(f"{path}.crop_size"))}
    fill = int(o(f"{path}.pad_value", 128)) if o(f"{path}.pad", True) else None
    return node if fill == 128 else {**node, "pad_value": fill}


def _random_crop(o: Objects, path: str) -> dict[str, Any]:
    return {"type": "det_core.data:RandomCrop", "size": o(f"{path}.crop_size"), "form": o(f"{path}.crop_type")}


def _sometimes(o: Objects, path: str) -> dict[str, Any] | None:
    if o.given.get(f"{path}.tfm_or_aug.kind") != "AugmentationList":
        return None
    o.ignore(f"{path}.tfm_or_aug.kind")
    inside = _transforms(o, f"{path}.tfm_or_aug.augs")
    return {"type": "torchvision.transforms.v2:RandomApply", "transforms": inside, "p": o(f"{path}.prob", 0.5)}


_TRANSFORMS = {
    "RandomApply": _sometimes,
    "ResizeShortestEdge": _shortest_edge,
    "RandomFlip": _flip,
    "ResizeScale": _jitter,
    "FixedSizeCrop": _fixed_crop,
    "RandomCrop": _random_crop,
}


def _solver(o: Objects) -> dict[str, Any]:
    steps = o("train.max_iter", None)
    # Communication, logging, checkpoint retention, kernel selection: not part of training itself.
    o.ignore("train.output_dir", "train.device", "train.log_period", "train.ddp", "train.checkpointer.max_to_keep")
    o.ignore("train.cudnn_benchmark")
    settings: dict[str, Any] = {
        "SOLVER.MAX_ITER": steps,
        "SOLVER.AMP.ENABLED": o("train.amp.enabled", False),
        "SOLVER.CHECKPOINT_PERIOD": o("train.checkpointer.period", None),
        "TEST.EVAL_PERIOD": o("train.eval_period", None),
        "MODEL.WEIGHTS": o("train.init_checkpoint", None),
    }
    if o.given.get("optimizer.kind") == "SGD":
        o.ignore("optimizer.kind", "optimizer.params.kind")
        settings |= {
            "SOLVER.BASE_LR": o("optimizer.lr"),
            "SOLVER.MOMENTUM": o("optimizer.momentum", 0.0),
            "SOLVER.NESTEROV": o("optimizer.nesterov", False),
            "SOLVER.WEIGHT_DECAY": o("optimizer.weight_decay", 0.0),
            "SOLVER.WEIGHT_DECAY_NORM": o("optimizer.params.weight_decay_norm", None),
        }
    return settings | (_schedule(o, steps) if steps else {})


def adamw(o: Objects) -> dict[str, Any]:
    """The optimizer of transformers, as entries of a recipe's section `train`; {} where it is another."""
    if o.given.get("optimizer.kind") != "AdamW":
        return {}
    # The groups repeat the learning rate of the optimizer.
    o.ignore("optimizer.kind", "optimizer.params.kind", "optimizer.params.base_lr")
    optimizer = {"type": "torch.optim:AdamW", "lr": o("optimizer.lr")}
    if (betas := list(o("optimizer.betas", (0.9, 0.999)))) != [0.9, 0.999]:
        optimizer["betas"] = betas
    optimizer["weight_decay"] = o("optimizer.weight_decay", 0.01)
    path = "optimizer.params.overrides"
    names = [key.removeprefix(f"{path}.").split(".")[0] for key in o.given if key.startswith(f"{path}.")]
    groups: dict[str, Any] = {}
    if (decay := o("optimizer.params.weight_decay_norm", None)) != 0.0:
        groups["norm_weight_decay"] = decay
    if decays := {name: o(f"{path}.{name}.weight_decay") for name in sorted(set(names))}:
        groups["weight_decay_of"] = decays
    function, arguments = o.partial("optimizer.params.lr_factor_func")
    if function == "get_vit_lr_decay_rate":
        groups["layer_decay"] = {"rate": arguments["lr_decay_rate"], "layers": arguments["num_layers"]}
    return {"optimizer": optimizer, "param_groups": groups} if groups else {"optimizer": optimizer}


def _schedule(o: Objects, steps: int) -> dict[str, Any]:
    """Milestones and warm-up, where each milestone divides the learning rate by the same factor."""
    path = "lr_multiplier"
    values = o.given.get(f"{path}.scheduler.values", ())
    milestones = o.given.get(f"{path}.scheduler.milestones", ())
    ratios = {round(after / before, 6) for before, after in pairwise(values)}
    stepwise = o.given.get(f"{path}.scheduler.kind") == "MultiStepParamScheduler" and len(ratios) == 1
    if o.given.get(f"{path}.kind") != "WarmupParamScheduler" or not stepwise or values[0] != 1:
        return {}
    # Milestones count the updates of their own schedule, which is stretched over the training.
    whole = milestones[-1] if len(milestones) == len(values) else steps
    stretch = steps / (o.given.get(f"{path}.scheduler.num_updates") or whole)
    o.ignore(path)
    return {
        "SOLVER.LR_SCHEDULER_NAME": "WarmupMultiStepLR",
        "SOLVER.STEPS": [round(step * stretch) for step in milestones[: len(values) - 1]],
        "SOLVER.GAMMA": ratios.pop(),
        "SOLVER.WARMUP_ITERS": round(o(f"{path}.warmup_length") * steps),
        "SOLVER.WARMUP_FACTOR": o(f"{path}.warmup_factor"),
        "SOLVER.WARMUP_METHOD": o(f"{path}.warmup_method", "linear"),
    }
