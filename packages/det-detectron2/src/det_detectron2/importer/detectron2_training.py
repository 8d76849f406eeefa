"""Detectron2's data and solver settings as the `data` and `train` sections of a recipe.

None of them changes what a model computes. Those without a counterpart stay unread, so that the importer lists them.
"""

from pathlib import PurePosixPath
from typing import Any

from det_detectron2.importer.detectron2_datasets import published_dataset
from det_detectron2.importer.settings import Settings

__all__ = ["data_section", "train_section"]

_FLIPS = {"horizontal": "RandomHorizontalFlip", "vertical": "RandomVerticalFlip"}


def data_section(s: Settings) -> dict[str, Any]:
    """Datasets, transforms and loader settings."""
    data = _datasets(s)
    types = [data["val"]["type"]] if "val" in data else []
    kinds = [kind for kind, key in (("segm", "MASK_ON"), ("keypoints", "KEYPOINT_ON")) if s.peek(f"MODEL.{key}")]
    if "cityscapes" in types and "segm" in kinds:
        data["evaluators"] = [{"type": "cityscapes"}]
    elif kinds and types:
        data["evaluators"] = [{"type": "lvis" if "lvis" in types else "coco", "iou_types": ["bbox", *kinds]}]
    if "lvis" in types and (most := s["TEST.DETECTIONS_PER_IMAGE"]) != 300:
        data.setdefault("evaluators", [{"type": "lvis"}])[0]["max_detections"] = most
    if s.peek("DATALOADER.SAMPLER_TRAIN") == "RepeatFactorTrainingSampler":
        s.read("DATALOADER.SAMPLER_TRAIN")
        threshold = s["DATALOADER.REPEAT_THRESHOLD"]
        data["sampler"] = {"type": "det_datasets.samplers:RepeatFactorSampler", "threshold": threshold}
        if not s["DATALOADER.REPEAT_SQRT"]:
            data["sampler"]["sqrt"] = False
    train = _crop(s) + _resize(s["INPUT.MIN_SIZE_TRAIN"], s["INPUT.MAX_SIZE_TRAIN"])
    if s["INPUT.MIN_SIZE_TRAIN_SAMPLING"] == "range" and s.peek("INPUT.MIN_SIZE_TRAIN") not in (0, [0]):
        train[-1]["draw"] = "range"
    if s["INPUT.RANDOM_FLIP"] in _FLIPS:
        train.append({"type": f"torchvision.transforms.v2:{_FLIPS[s['INPUT.RANDOM_FLIP']]}"})
    data["train_transforms"] = train
    data["eval_transforms"] = _resize(s["INPUT.MIN_SIZE_TEST"], s["INPUT.MAX_SIZE_TEST"])
    data["workers"] = s["DATALOADER.NUM_WORKERS"]
    if s["DATALOADER.ASPECT_RATIO_GROUPING"]:
        data["aspect_ratio_grouping"] = True
    return data


def _datasets(s: Settings) -> dict[str, Any]:
    """The entries `train` and `val`, where the dataset names are known."""
    common: dict[str, Any] = {}
    if s.peek("MODEL.KEYPOINT_ON"):
        common["keypoints"] = True
    if s.peek("MODEL.PROPOSAL_GENERATOR.NAME") == "RRPN":
        common["rotated"] = True
    # COCO has a few boxes of zero area, which Detectron2 drops silently.
    train = {**common, "bad_annotations": "skip"}
    if s["DATALOADER.FILTER_EMPTY_ANNOTATIONS"]:
        train["keep_empty"] = False
    val = dict(common)
    if s.peek("MODEL.MASK_ON"):
        train["masks"] = "polygons" if s["INPUT.MASK_FORMAT"] == "polygon" else "bitmaps"
        val["masks"] = "bitmaps"
    if s.peek("MODEL.KEYPOINT_ON") and (fewest := s["MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE"]):
        train["min_keypoints"] = fewest
    data = {}
    for split, key, arguments in (("train", "DATASETS.TRAIN", train), ("val", "DATASETS.TEST", val)):
        if node := published_dataset(s.peek(key), **arguments):
            s.read(key)
            data[split] = _with_proposals(s, key.rpartition(".")[2], node)
    return data


def _with_proposals(s: Settings, split: str, node: dict[str, Any]) -> dict[str, Any]:
    """The dataset with precomputed proposals, if the model uses them."""
    files = s.peek(f"DATASETS.PROPOSAL_FILES_{split}")
    if s.peek("MODEL.PROPOSAL_GENERATOR.NAME") != "PrecomputedProposals" or len(files) != 1:
        return node
    s.read(f"DATASETS.PROPOSAL_FILES_{split}")
    # The published files are pickles; converted ones have the same name with another suffix.
    file = f"proposals/{PurePosixPath(files[0]).stem}.npz"
    top = s[f"DATASETS.PRECOMPUTED_PROPOSAL_TOPK_{split}"]
    return {"type": "det_datasets.wrappers:WithProposals", "dataset": node, "file": file, "top": top}


def _crop(s: Settings) -> list[dict[str, Any]]:
    if not s["INPUT.CROP.ENABLED"]:
        return []
    return [{"type": "det_core.data:RandomCrop", "size": s["INPUT.CROP.SIZE"], "form": s["INPUT.CROP.TYPE"]}]


def _resize(short: int | list[int], long: int) -> list[dict[str, Any]]:
    if short in (0, [0]):
        return []
    short = list(short) if isinstance(short, list | tuple) else [short]
    return [
        {"type": "det_core.data:ResizeShortestEdge", "size": short if len(short) > 1 else short[0], "max_size": long}
    ]


def train_section(s: Settings) -> dict[str, Any]:
    """Steps, optimizer, schedule, and checkpoints."""
    optimizer: dict[str, Any] = {"type": "torch.optim:SGD", "lr": s["SOLVER.BASE_LR"], "momentum": s["SOLVER.MOMENTUM"]}
    if s["SOLVER.NESTEROV"]:
        optimizer["nesterov"] = True
    optimizer["weight_decay"] = s["SOLVER.WEIGHT_DECAY"]
    train: dict[str, Any] = {
        "steps": s["SOLVER.MAX_ITER"],
        "batch_size": s["SOLVER.IMS_PER_BATCH"],
        "optimizer": optimizer,
    }
    if schedule := _schedule(s):
        train["schedule"] = schedule
    if groups := s.differing(
        {
            "SOLVER.WEIGHT_DECAY_NORM": ("norm_weight_decay", 0.0),
            "SOLVER.WEIGHT_DECAY_BIAS": ("bias_weight_decay", None),
            "SOLVER.BIAS_LR_FACTOR": ("bias_lr_factor", 1.0),
        }
    ):
        train["param_groups"] = groups
    if by := _clipped_by(s):
        train["clip_gradients"] = {"limit": s["SOLVER.CLIP_GRADIENTS.CLIP_VALUE"], "by": by}
    if s["SOLVER.AMP.ENABLED"]:
        train["precision"] = "bf16"
    train["checkpoint_every"] = s["SOLVER.CHECKPOINT_PERIOD"]
    if period := s["TEST.EVAL_PERIOD"]:
        train["evaluate_every"] = period
    if s.peek("TEST.PRECISE_BN.ENABLED"):
        s.read("TEST.PRECISE_BN.ENABLED")
        train["precise_norms"] = s["TEST.PRECISE_BN.NUM_ITER"]
    if s.peek("SEED") >= 0:
        train["seed"] = s["SEED"]
    return train


def _clipped_by(s: Settings) -> str | None:
    """How gradients are clipped; Detectron2's "norm" applies to each parameter separately."""
    kind, norm = s.peek("SOLVER.CLIP_GRADIENTS.CLIP_TYPE"), s.peek("SOLVER.CLIP_GRADIENTS.NORM_TYPE")
    if not s.peek("SOLVER.CLIP_GRADIENTS.ENABLED") or kind not in ("value", "norm") or (kind == "norm" and norm != 2):
        return None
    s.read("SOLVER.CLIP_GRADIENTS.ENABLED", "SOLVER.CLIP_GRADIENTS.CLIP_TYPE")
    if kind == "norm":
        s.read("SOLVER.CLIP_GRADIENTS.NORM_TYPE")
    return "value" if kind == "value" else "norm_of_each"


def _schedule(s: Settings) -> dict[str, Any] | None:
    name = s.peek("SOLVER.LR_SCHEDULER_NAME")
    if name not in ("WarmupMultiStepLR", "WarmupCosineLR") or s.peek("SOLVER.WARMUP_METHOD") != "linear":
        return None
    s.read("SOLVER.LR_SCHEDULER_NAME", "SOLVER.WARMUP_METHOD")
    warmup = {"warmup": s["SOLVER.WARMUP_ITERS"], "warmup_start": s["SOLVER.WARMUP_FACTOR"]}
    if name == "WarmupCosineLR":
        end = s["SOLVER.BASE_LR_END"] / s["SOLVER.BASE_LR"] if s["SOLVER.BASE_LR"] else 0.0
        return {"type": "det_core.engine:WarmupCosine", "end": end, **warmup}
    steps = {"milestones": list(s["SOLVER.STEPS"]), "gamma": s["SOLVER.GAMMA"]}
    return {"type": "det_core.engine:WarmupMultiStep", **steps, **warmup}
