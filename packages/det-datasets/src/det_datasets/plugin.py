"""The components of det-datasets by name; their modules are imported on first use."""

from det_core.plugins.hooks import hookimpl, recipe_files

PUBLISHED: dict[str, dict[str, str]] = {
    "COCO-Detection": {
        "fast_rcnn_r50_fpn_1x": "fast_rcnn_R_50_FPN_1x",
        "rpn_r50_c4_1x": "rpn_R_50_C4_1x",
        "rpn_r50_fpn_1x": "rpn_R_50_FPN_1x",
    },
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
    "concat": "det_datasets.wrappers:ConcatDataset",
    "image_folder": "det_datasets.readers:ImageFolder",
    "lvis": "det_datasets.readers:LvisDataset",
    "semantic_folder": "det_datasets.readers:SemanticFolder",
    "voc": "det_datasets.readers:VocDataset",
    "yolo": "det_datasets.readers:YoloDataset",
}
_EVALUATORS = {
    "cityscapes": "det_datasets.evaluators:CityscapesEvaluator",
    "lvis": "det_datasets.evaluators:LvisEvaluator",
    "mean_iou": "det_datasets.evaluators:MeanIoU",
    "proposal_recall": "det_datasets.evaluators:ProposalRecall",
    "voc": "det_datasets.evaluators:VocEvaluator",
}
_WRAPPERS = ("ConcatDataset", "CopyPaste", "Mosaic", "ProposalWriter", "WithProposals")
# Beside the components of the hooks. Other parts of `wrappers` read or write files.
SAFE_PARTS = (
    "det_datasets.crops:ObjectCrop",
    "det_datasets.wrappers:CopyPaste",
    "det_datasets.wrappers:Mosaic",
    "det_datasets.samplers:ClassBalancedSampler",
    "det_datasets.samplers:RepeatFactorSampler",
)


@hookimpl
def det_datasets() -> dict[str, str]:
    """Readers of annotated images."""
    return _DATASETS


@hookimpl
def det_evaluators() -> dict[str, str]:
    """Metrics of each benchmark."""
    return _EVALUATORS


@hookimpl
def det_recipes() -> dict[str, str]:
    """Recipe files in the folder `recipes`; the published path of a configuration is an alias of its name."""
    return recipe_files("det_datasets:recipes", PUBLISHED)


@hookimpl
def det_writers() -> dict[str, str]:
    """Segments and labels of pixels."""
    return {"segments": "det_datasets.segment_files:SegmentWriter"}


# Names of det-core before 0.2.
MOVED_NAMES = {
    **{f"det-core/{name}": f"det-datasets/{name}" for name in (*_DATASETS, *_EVALUATORS, *det_recipes())},
    **{f"det_core.data:{target.partition(':')[2]}": target for target in _DATASETS.values()},
    **{f"det_core.evaluation:{target.partition(':')[2]}": target for target in _EVALUATORS.values()},
    **{f"det_core.data.{name}": f"det_datasets.readers.{name}" for name in _DATASETS},
    **{f"det_core.data.formats.{name}": f"det_datasets.readers.{name}" for name in _DATASETS},
    **{
        f"det_core.evaluation.{name}": f"det_datasets.evaluators.{name}"
        for name in ("cityscapes", "lvis", "proposals", "semantic", "voc")
    },
    **{f"det_core.data:{name}": f"det_datasets.wrappers:{name}" for name in _WRAPPERS},
    **{f"det_core.data.{name}": f"det_datasets.wrappers.{name}" for name in ("concat", "mixing", "proposals")},
    "det_core.data.formats.concat": "det_datasets.wrappers.concat",
    "det_core.data.folder": "det_datasets.readers.image_folder",
    "det_core.data.formats.folder": "det_datasets.readers.image_folder",
    "det_core.data.transforms:CopyPaste": "det_datasets.wrappers:CopyPaste",
    "det_core.data.transforms:Mosaic": "det_datasets.wrappers:Mosaic",
    **{
        f"{module}:{name}": f"det_datasets.samplers:{name}"
        for module in ("det_core.data", "det_core.data.samplers", "det_core.data.loading.samplers")
        for name in ("ClassBalancedSampler", "RepeatFactorSampler")
    },
    **{
        f"{module}:ObjectCrop": "det_datasets.crops:ObjectCrop"
        for module in (
            "det_core.data",
            "det_core.data.crops",
            "det_core.data.transforms",
            "det_core.data.transforms.crops",
        )
    },
    "det_core.data.transforms.mixing": "det_datasets.wrappers.mixing",
    "det_datasets.around": "det_datasets.wrappers",
}
