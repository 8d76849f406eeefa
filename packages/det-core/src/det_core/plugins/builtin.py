"""The components of core, by the same hooks as any plugin: names as data, nothing is imported.

One sorted table per hook; a component needs a line here and nothing else. Recipes are listed in `zoo.plugin`.
"""

import json
from pathlib import Path

from det_core.plugins.hooks import hookimpl

_CORE = {
    "det_core.data": """
        Data FixedSizeCrop Points RandomCrop ResizeShortestEdge ScaleJitter ShuffleSampler
    """,
    "det_core.backbones": "Deformation",
    "det_core.engine": """
        ClipGradients EMA LayerDecay OneCycle Parallel ParamGroups Train WarmupCosine WarmupMultiStep WarmupPoly
        WarmupSteps
    """,
    "det_core.engine.callbacks": "Freeze",
    "det_core.models": """
        AnchorGenerator AnchorMatching AnchorSampler BoxRegression DenseNMS FCOSNMS FCOSTower FederatedClasses FocalLoss
        NMS Normalize ProposalNMS RegionSampler Res5Blocks ROIPooler RPNHead TowerLayers
    """,
    "det_core.weights": "InitialWeights",
}
_TORCH: dict[str, list[str]] = json.loads(Path(__file__).with_name("torch_parts.json").read_text("utf-8"))

# Layers, losses, schedules, samplers and transforms: they compute, and neither read nor write, load nor start anything.
SAFE_PARTS = (
    *(f"{module}:{name}" for module, names in _CORE.items() for name in names.split()),
    *(f"{module}:{name}" for module, names in _TORCH.items() for name in names),
)


@hookimpl
def det_backbones() -> dict[str, str]:
    """Networks that turn images into feature maps."""
    return {
        "fpn": "det_core.backbones:FPN",
        "regnet": "det_core.backbones:RegNet",
        "resnet": "det_core.backbones:ResNet",
        "torchvision": "det_core.backbones:TorchvisionBackbone",
    }


@hookimpl
def det_heads() -> dict[str, str]:
    """Proposal generators, second stages and their parts."""
    return {
        "anchor_generator": "det_core.models:AnchorGenerator",
        "cascade_roi_heads": "det_core.models:CascadeROIHeads",
        "fast_rcnn_conv_fc_head": "det_core.models:FastRCNNConvFCHead",
        "fast_rcnn_predictor": "det_core.models:FastRCNNPredictor",
        "fcos_head": "det_core.models:FCOSHead",
        "keypoint_rcnn_conv_deconv_upsample_head": "det_core.models:KeypointRCNNConvDeconvUpsampleHead",
        "mask_rcnn_conv_upsample_head": "det_core.models:MaskRCNNConvUpsampleHead",
        "normalize": "det_core.models:Normalize",
        "res5_roi_heads": "det_core.models:Res5ROIHeads",
        "retinanet_head": "det_core.models:RetinaNetHead",
        "roi_pooler": "det_core.models:ROIPooler",
        "rpn": "det_core.models:RPN",
        "rpn_head": "det_core.models:RPNHead",
        "standard_roi_heads": "det_core.models:StandardROIHeads",
    }


@hookimpl
def det_models() -> dict[str, str]:
    """Whole detectors."""
    return {
        "dense_detector": "det_core.models:DenseDetector",
        "faster_rcnn": "det_core.models:faster_rcnn",
        "keypoint_rcnn": "det_core.models:keypoint_rcnn",
        "mask_rcnn": "det_core.models:mask_rcnn",
        "proposal_network": "det_core.models:ProposalNetwork",
        "rcnn": "det_core.models:RCNN",
    }


@hookimpl
def det_datasets() -> dict[str, str]:
    """Readers of annotated images."""
    return {
        "coco": "det_core.data:CocoDataset",
    }


@hookimpl
def det_evaluators() -> dict[str, str]:
    """Evaluators of predictions."""
    return {
        "coco": "det_core.evaluation:CocoEvaluator",
    }


@hookimpl
def det_commands() -> dict[str, str]:
    """The command line."""
    return {
        "train": "det_core.cli.train:command",
        "eval": "det_core.cli.eval:command",
        "predict": "det_core.cli.predict:command",
        "recipes": "det_core.cli.recipes:command",
        "plugins": "det_core.cli.plugins:command",
    }


@hookimpl
def det_writers() -> dict[str, str]:
    """Writers of `det predict --save`."""
    return {
        "json": "det_core.predict.writers:JsonWriter",
        "pictures": "det_core.predict.writers:PictureWriter",
    }
