"""What core itself brings, through the same hooks as any plugin: names as data, nothing is imported.

One sorted table per hook; a component needs a line here and nothing else. Recipes are listed in `zoo.plugin`.
"""

from det_core.plugins.hooks import hookimpl


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
        "sem_seg_fpn_head": "det_core.models:SemSegFPNHead",
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
        "semantic_segmentor": "det_core.models:SemanticSegmentor",
    }


@hookimpl
def det_datasets() -> dict[str, str]:
    """Readers of annotated images."""
    return {
        "cityscapes": "det_core.data:CityscapesDataset",
        "coco": "det_core.data:CocoDataset",
        "concat": "det_core.data:ConcatDataset",
        "image_folder": "det_core.data:ImageFolder",
        "lvis": "det_core.data:LvisDataset",
        "semantic_folder": "det_core.data:SemanticFolder",
        "voc": "det_core.data:VocDataset",
        "yolo": "det_core.data:YoloDataset",
    }


@hookimpl
def det_evaluators() -> dict[str, str]:
    """Judges of predictions."""
    return {
        "cityscapes": "det_core.evaluation:CityscapesEvaluator",
        "coco": "det_core.evaluation:CocoEvaluator",
        "lvis": "det_core.evaluation:LvisEvaluator",
        "mean_iou": "det_core.evaluation:MeanIoU",
        "proposal_recall": "det_core.evaluation:ProposalRecall",
        "voc": "det_core.evaluation:VocEvaluator",
    }


@hookimpl
def det_commands() -> dict[str, str]:
    """The command line."""
    return {
        "train": "det_core.cli.train:command",
        "eval": "det_core.cli.eval:command",
        "predict": "det_core.cli.predict:command",
        "recipes": "det_core.cli.recipes:command",
        "zoo": "det_core.cli.zoo:command",
        "plugins": "det_core.cli.plugins:command",
    }


@hookimpl
def det_writers() -> dict[str, str]:
    """What `det predict` writes."""
    return {
        "json": "det_core.predict.writers:JsonWriter",
        "pictures": "det_core.predict.writers:PictureWriter",
        "segments": "det_core.predict.writers:SegmentWriter",
    }
