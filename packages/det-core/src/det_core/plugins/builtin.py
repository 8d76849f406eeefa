"""What core itself brings, through the same hooks as any plugin: names as data, nothing is imported.

One sorted table per hook; a component needs a line here and nothing else. Recipes are listed in `zoo.plugin`.
"""

from det_core.plugins.hooks import hookimpl

_CORE = {
    "det_core.data": """
        ClassBalancedSampler Data FixedSizeCrop ObjectCrop Points RandomCrop RepeatFactorSampler
        ResizeShortestEdge ScaleJitter ShuffleSampler
    """,
    "det_core.backbones": "Deformation",
    "det_core.engine": """
        ClipGradients EMA LayerDecay OneCycle Parallel ParamGroups Train WarmupCosine WarmupMultiStep WarmupPoly
        WarmupSteps
    """,
    "det_core.engine.callbacks": "EarlyStopping Freeze",
    "det_core.models": """
        AnchorGenerator AnchorMatching AnchorSampler BoxRegression DenseNMS FCOSNMS FCOSTower FederatedClasses FocalLoss
        NMS Normalize ProposalNMS RegionSampler Res5Blocks ROIPooler RPNHead SemSegFPNHead TowerLayers
    """,
    "det_core.weights": "InitialWeights",
}
_TORCH = {
    "torch.nn": """
        AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveMaxPool1d AdaptiveMaxPool2d AlphaDropout AvgPool1d AvgPool2d
        BatchNorm1d BatchNorm2d BatchNorm3d BCELoss BCEWithLogitsLoss Bilinear CELU ChannelShuffle ConstantPad2d Conv1d
        Conv2d Conv3d ConvTranspose1d ConvTranspose2d CosineEmbeddingLoss CosineSimilarity CrossEntropyLoss Dropout
        Dropout1d Dropout2d Dropout3d ELU Embedding Flatten Fold GELU GLU GroupNorm Hardshrink Hardsigmoid Hardswish
        Hardtanh HuberLoss Identity InstanceNorm1d InstanceNorm2d InstanceNorm3d KLDivLoss L1Loss LayerNorm LeakyReLU
        Linear LocalResponseNorm LogSigmoid LogSoftmax LPPool2d MaxPool1d MaxPool2d Mish MSELoss MultiheadAttention
        NLLLoss PairwiseDistance PixelShuffle PixelUnshuffle PReLU ReflectionPad2d ReLU ReLU6 ReplicationPad2d RMSNorm
        RReLU SELU Sigmoid SiLU SmoothL1Loss Softmax Softmax2d Softmin Softplus Softshrink Softsign SyncBatchNorm Tanh
        Tanhshrink Threshold Transformer TransformerDecoderLayer TransformerEncoderLayer Unflatten Unfold Upsample
        ZeroPad2d
    """,
    "torch.nn.functional": """
        binary_cross_entropy binary_cross_entropy_with_logits cross_entropy elu gelu hardswish hardtanh huber_loss
        l1_loss leaky_relu mish mse_loss relu relu6 sigmoid silu smooth_l1_loss softmax softplus tanh
    """,
    "torch.optim": """
        Adadelta Adafactor Adagrad Adam Adamax AdamW ASGD LBFGS NAdam RAdam RMSprop Rprop SGD SparseAdam
    """,
    "torch.optim.lr_scheduler": """
        ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR ExponentialLR LinearLR MultiStepLR OneCycleLR
        PolynomialLR ReduceLROnPlateau StepLR
    """,
    "torchvision.ops": "DropBlock2d FrozenBatchNorm2d StochasticDepth",
    "torchvision.transforms.v2": """
        AugMix AutoAugment CenterCrop ClampBoundingBoxes ColorJitter Compose ConvertBoundingBoxFormat ElasticTransform
        FiveCrop GaussianBlur GaussianNoise Grayscale JPEG Normalize Pad RandAugment RandomAdjustSharpness RandomAffine
        RandomApply RandomAutocontrast RandomChannelPermutation RandomChoice RandomCrop RandomEqualize RandomErasing
        RandomGrayscale RandomHorizontalFlip RandomInvert RandomIoUCrop RandomOrder RandomPerspective
        RandomPhotometricDistort RandomPosterize RandomResize RandomResizedCrop RandomRotation RandomShortestSize
        RandomSolarize RandomVerticalFlip RandomZoomOut Resize RGB SanitizeBoundingBoxes ScaleJitter TrivialAugmentWide
    """,
}

# Layers, losses, schedules, samplers and transforms: they compute, and neither read nor write, load nor start anything.
SAFE_PARTS = tuple(
    f"{module}:{name}" for table in (_CORE, _TORCH) for module in table for name in table[module].split()
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
        "coco": "det_core.data:CocoDataset",
        "concat": "det_core.data:ConcatDataset",
        "image_folder": "det_core.data:ImageFolder",
    }


@hookimpl
def det_evaluators() -> dict[str, str]:
    """Judges of predictions."""
    return {
        "coco": "det_core.evaluation:CocoEvaluator",
        "proposal_recall": "det_core.evaluation:ProposalRecall",
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
