"""The data and solver of Detectron2's configurations that are Python files, as settings of its YAML configurations.

What these do not know is left unread, so that the importer lists it.
"""

from itertools import pairwise
from typing import Any

from det_core.importers.lazy_objects import Objects

__all__ = ["settings_of_training"]


def settings_of_training(o: Objects) -> dict[str, Any]:
    """The settings that everything outside "model" amounts to."""
    settings = {**_data(o), **_solver(o)}
    return {name: value for name, value in settings.items() if value is not None}


def _data(o: Objects) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for split, key in (("train", "DATASETS.TRAIN"), ("test", "DATASETS.TEST")):
        name = o(f"dataloader.{split}.dataset.names", None)
        settings[key] = [name] if isinstance(name, str) else name
    o.ignore("dataloader.train.kind", "dataloader.train.dataset.kind", "dataloader.train.mapper.is_train")
    o.ignore("dataloader.test", "dataloader.evaluator", "dataloader.train.mapper.kind")
    o.ignore("dataloader.train.mapper.image_format", "dataloader.train.mapper.use_instance_mask")
    settings |= {
        "DATALOADER.FILTER_EMPTY_ANNOTATIONS": o("dataloader.train.dataset.filter_empty", None),
        "DATALOADER.NUM_WORKERS": o("dataloader.train.num_workers", None),
        "SOLVER.IMS_PER_BATCH": o("dataloader.train.total_batch_size", None),
        "INPUT.MIN_SIZE_TRAIN": 0,
        "INPUT.RANDOM_FLIP": "none",
    }
    return settings | _augmentations(o)


def _augmentations(o: Objects) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    number = 0
    while kind := o.given.get(path := f"dataloader.train.mapper.augmentations.{number}.kind"):
        path, number = path.removesuffix(".kind"), number + 1
        if kind == "ResizeShortestEdge":
            settings["INPUT.MIN_SIZE_TRAIN"] = o(f"{path}.short_edge_length")
            settings["INPUT.MAX_SIZE_TRAIN"] = o(f"{path}.max_size")
            settings["INPUT.MIN_SIZE_TRAIN_SAMPLING"] = o(f"{path}.sample_style", "range")
            o(f"{path}.kind")
        elif kind == "RandomFlip" and o.given.get(f"{path}.prob", 0.5) == 0.5:
            vertical = o(f"{path}.vertical", False)
            o.ignore(path)
            settings["INPUT.RANDOM_FLIP"] = "vertical" if vertical else "horizontal"
    return settings


def _solver(o: Objects) -> dict[str, Any]:
    steps = o("train.max_iter", None)
    # How processes talk, what is kept and shown, how a kernel is chosen: nothing of what is learnt.
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


def _schedule(o: Objects, steps: int) -> dict[str, Any]:
    """Milestones and warm-up, where each milestone divides the rate by the same number."""
    path = "lr_multiplier"
    values = o.given.get(f"{path}.scheduler.values", ())
    milestones = o.given.get(f"{path}.scheduler.milestones", ())
    ratios = {round(after / before, 6) for before, after in pairwise(values)}
    stepwise = o.given.get(f"{path}.scheduler.kind") == "MultiStepParamScheduler" and len(ratios) == 1
    if o.given.get(f"{path}.kind") != "WarmupParamScheduler" or not stepwise or values[0] != 1:
        return {}
    o.ignore(path)
    return {
        "SOLVER.LR_SCHEDULER_NAME": "WarmupMultiStepLR",
        "SOLVER.STEPS": list(milestones[: len(values) - 1]),
        "SOLVER.GAMMA": ratios.pop(),
        "SOLVER.WARMUP_ITERS": round(o(f"{path}.warmup_length") * steps),
        "SOLVER.WARMUP_FACTOR": o(f"{path}.warmup_factor"),
        "SOLVER.WARMUP_METHOD": o(f"{path}.warmup_method", "linear"),
    }
