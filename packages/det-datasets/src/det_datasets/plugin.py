"""What det-datasets adds to det, as names; nothing here is imported before it is used."""

from det_core.plugins.hooks import hookimpl, recipe_files

_PUBLISHED: dict[str, dict[str, str]] = {
    "Cityscapes": {
        "cityscapes_mask_rcnn_r50_fpn": "mask_rcnn_R_50_FPN",
    },
    "LVISv0.5-InstanceSegmentation": {
        "lvis_v05_mask_rcnn_r101_fpn_1x": "mask_rcnn_R_101_FPN_1x",
        "lvis_v05_mask_rcnn_r50_fpn_1x": "mask_rcnn_R_50_FPN_1x",
        "lvis_v05_mask_rcnn_x101_32x8d_fpn_1x": "mask_rcnn_X_101_32x8d_FPN_1x",
    },
    "LVISv1-InstanceSegmentation": {
        "lvis_v1_mask_rcnn_r101_fpn_1x": "mask_rcnn_R_101_FPN_1x",
        "lvis_v1_mask_rcnn_r50_fpn_1x": "mask_rcnn_R_50_FPN_1x",
        "lvis_v1_mask_rcnn_x101_32x8d_fpn_1x": "mask_rcnn_X_101_32x8d_FPN_1x",
    },
    "PascalVOC-Detection": {
        "voc_faster_rcnn_r50_c4": "faster_rcnn_R_50_C4",
        "voc_faster_rcnn_r50_fpn": "faster_rcnn_R_50_FPN",
    },
}
_DATASETS = {
    "cityscapes": "det_datasets.readers:CityscapesDataset",
    "lvis": "det_datasets.readers:LvisDataset",
    "voc": "det_datasets.readers:VocDataset",
    "yolo": "det_datasets.readers:YoloDataset",
}
_EVALUATORS = {
    "cityscapes": "det_datasets.evaluators:CityscapesEvaluator",
    "lvis": "det_datasets.evaluators:LvisEvaluator",
    "voc": "det_datasets.evaluators:VocEvaluator",
}


@hookimpl
def det_datasets() -> dict[str, str]:
    """Readers of annotated images."""
    return _DATASETS


@hookimpl
def det_evaluators() -> dict[str, str]:
    """Metrics by the rules of each benchmark."""
    return _EVALUATORS


@hookimpl
def det_recipes() -> dict[str, str]:
    """Recipe files in the folder `recipes`; the published path of a configuration is an alias of its name."""
    return recipe_files("det_datasets:recipes", _PUBLISHED)


# All of it stood in det-core until 0.2.
MOVED_NAMES = {
    **{f"det-core/{name}": f"det-datasets/{name}" for name in (*_DATASETS, *_EVALUATORS, *det_recipes())},
    **{f"det_core.data:{target.partition(':')[2]}": target for target in _DATASETS.values()},
    **{f"det_core.evaluation:{target.partition(':')[2]}": target for target in _EVALUATORS.values()},
    **{f"det_core.data.{name}": f"det_datasets.readers.{name}" for name in _DATASETS},
    **{f"det_core.data.formats.{name}": f"det_datasets.readers.{name}" for name in _DATASETS},
    **{f"det_core.evaluation.{name}": f"det_datasets.evaluators.{name}" for name in _EVALUATORS},
}
