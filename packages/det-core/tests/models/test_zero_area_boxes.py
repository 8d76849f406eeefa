"""No family of models detects boxes of no area, as where clipping leaves a line on the border."""

import pytest
import torch
from det_core.backbones import FPN, ResNet
from det_core.models import (
    FCOSNMS,
    NMS,
    RPN,
    CascadeROIHeads,
    DenseDetector,
    DenseNMS,
    FastRCNNConvFCHead,
    FastRCNNPredictor,
    FCOSHead,
    KeypointRCNNConvDeconvUpsampleHead,
    MaskRCNNConvUpsampleHead,
    ProposalNetwork,
    Res5Blocks,
    Res5ROIHeads,
    RetinaNetHead,
    StandardROIHeads,
    TowerLayers,
    keypoint_rcnn,
    mask_rcnn,
)
from det_core.ops.geometry import geometry
from det_core.recipes import Factory
from det_core.structures import ImageBatch
from torch import nn

BOX = {
    "box_head": Factory(FastRCNNConvFCHead, fc_dim=16),
    "box_predictor": Factory(FastRCNNPredictor, nms=NMS(score_threshold=0.01, max_detections=50)),
}
MASKS = Factory(MaskRCNNConvUpsampleHead, num_conv=1, conv_dim=8)


def pyramid():
    return FPN(ResNet(18, stem_channels=8, res2_channels=8), out_channels=8)


def made(family):
    if family == "mask":
        return mask_rcnn(pyramid(), 3, mask_head=MASKS, roi_heads=Factory(StandardROIHeads, **BOX))
    if family == "cascade":
        return mask_rcnn(pyramid(), 3, mask_head=MASKS, roi_heads=Factory(CascadeROIHeads, **BOX))
    if family == "c4":
        network = ResNet(18, stem_channels=8, res2_channels=8, out_features=["res4"])
        stage = Factory(
            Res5ROIHeads, res5=Res5Blocks(out_channels=16, width_per_group=1), box_predictor=BOX["box_predictor"]
        )
        return mask_rcnn(network, 3, mask_head=MASKS, roi_heads=stage)
    if family == "keypoint":
        head = Factory(KeypointRCNNConvDeconvUpsampleHead, conv_dims=[8], num_keypoints=3)
        return keypoint_rcnn(pyramid(), 3, keypoint_head=head, roi_heads=Factory(StandardROIHeads, **BOX))
    if family == "rpn":
        return ProposalNetwork(pyramid(), Factory(RPN))
    head, nms = {
        "retinanet": (RetinaNetHead, DenseNMS(max_detections=50)),
        "fcos": (FCOSHead, FCOSNMS(max_detections=50)),
    }[family]
    tower = TowerLayers(conv_dims=[-1])
    return DenseDetector(pyramid(), Factory(head, tower=tower, prior_probability=0.3, nms=nms), 3)


def drifting(model):
    """The model, whose boxes drift to the right, many of them out of the image."""
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if isinstance(module, nn.Linear | nn.Conv2d) and last == "bbox_pred" and module.bias is not None:
            with torch.no_grad():
                module.bias.view(-1, 4)[:, 0] += 12.0 if isinstance(module, nn.Linear) else 4.0
    return model.eval()


@pytest.mark.parametrize("family", ["mask", "cascade", "c4", "keypoint", "rpn", "retinanet", "fcos"])
def test_model_boxes_out_of_the_image_are_not_detected(family):
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        [prediction] = drifting(made(family))(ImageBatch.stack([image]))
    found = prediction.proposals if prediction.detections is None else prediction.detections
    assert len(found)
    assert geometry(4).larger_than(found.boxes, 0).all()
    for name in ("masks", "keypoints"):
        value = getattr(found, name, None)
        assert value is None or len(value) == len(found)
