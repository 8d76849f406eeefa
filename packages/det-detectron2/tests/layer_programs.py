"""Settings of small models on the blood cells of examples/, for programs of tests."""

import json
from pathlib import Path
from typing import Any

CELLS = Path(__file__).parents[3] / "examples/blood-cells"


def register(name: str, folder: Path, split: str, count: int) -> str:
    """Register the first images of a split of the blood cells under a name of this folder, unless they are."""
    from det_detectron2.layer.data import DatasetCatalog
    from det_detectron2.layer.data.datasets import register_coco_instances

    own = f"{name}_{folder.name}"
    if own not in DatasetCatalog:
        content = json.loads((CELLS / f"instances_{split}.json").read_text("utf-8"))
        content["images"] = content["images"][:count]
        numbers = {each["id"] for each in content["images"]}
        content["annotations"] = [each for each in content["annotations"] if each["image_id"] in numbers]
        (folder / f"{name}.json").write_text(json.dumps(content), "utf-8")
        register_coco_instances(own, {}, str(folder / f"{name}.json"), str(CELLS / "images"))
    return own


def small_cfg(output: Path, *more: Any) -> Any:
    """A narrow Faster R-CNN with a pyramid, for images of 96 pixels, with three classes."""
    from det_detectron2.layer.config import get_cfg

    train, val = register("train", output, "train", 8), register("val", output, "val", 2)
    cfg = get_cfg()
    cfg.merge_from_list(
        [
            *("MODEL.DEVICE", "cpu", "MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "MODEL.RESNETS.DEPTH", 18),
            *("MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4", "res5"]),
            *("MODEL.FPN.IN_FEATURES", ["res2", "res3", "res4", "res5"], "MODEL.FPN.OUT_CHANNELS", 32),
            *("MODEL.RPN.IN_FEATURES", ["p2", "p3", "p4", "p5", "p6"], "MODEL.ROI_HEADS.NAME", "StandardROIHeads"),
            *("MODEL.ROI_HEADS.IN_FEATURES", ["p2", "p3", "p4", "p5"], "MODEL.ROI_HEADS.NUM_CLASSES", 3),
            *("MODEL.ANCHOR_GENERATOR.SIZES", [[8], [16], [32], [64], [128]], "MODEL.WEIGHTS", ""),
            *("MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead", "MODEL.ROI_BOX_HEAD.NUM_FC", 1),
            *("MODEL.ROI_BOX_HEAD.FC_DIM", 64, "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", 7),
            *("MODEL.RPN.POST_NMS_TOPK_TRAIN", 64, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 32),
            *("INPUT.MIN_SIZE_TRAIN", (96,), "INPUT.MIN_SIZE_TEST", 96, "TEST.DETECTIONS_PER_IMAGE", 20),
            *("DATASETS.TRAIN", (train,), "DATASETS.TEST", (val,), "OUTPUT_DIR", str(output)),
            *("DATALOADER.NUM_WORKERS", 0, "SOLVER.IMS_PER_BATCH", 2, "SOLVER.MAX_ITER", 4, "SOLVER.BASE_LR", 0.005),
            *("SOLVER.STEPS", (3,), "SOLVER.WARMUP_ITERS", 2, "SEED", 7, *more),
        ]
    )
    return cfg
