"""Our Mask R-CNN (R50-FPN) and torchvision's, with the same weights and the same settings, and pictures for both.

The weights come from a seed. The last layers are scaled on one picture, so that about as much is found as by a trained
model: a hundred objects, few of them beyond doubt.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from _images import resized
from det_core.backbones import FPN, ResNet
from det_core.data import read_image
from det_core.models import RPN, MaskRCNNConvUpsampleHead, ROIPooler, StandardROIHeads, mask_rcnn
from det_core.models.parts.anchors import AnchorGenerator
from det_core.recipes import Factory
from det_core.structures import ImageBatch
from det_inspect.speed.torchvision_pair import torchvision_state
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

SIZE = (800, 1216)
CLASSES = 80
FOLDER = Path(__file__).parent.parent / "examples" / "blood-cells"


def ours() -> nn.Module:
    """Our model, by torchvision's settings: two samples per bin, and the first ROIAlign."""
    torch.manual_seed(0)
    pooling = {"pooling": "ROIAlign", "sampling_ratio": 2}
    sizes = [[32.0], [64.0], [128.0], [256.0], [512.0]]
    model = mask_rcnn(
        FPN(ResNet(50, stride_in_1x1=False)),
        CLASSES,
        mask_head=Factory(MaskRCNNConvUpsampleHead, pooler=Factory(ROIPooler, resolution=14, **pooling)),
        roi_heads=Factory(StandardROIHeads, pooler=Factory(ROIPooler, resolution=7, **pooling)),
        proposal_generator=Factory(RPN, anchor_generator=Factory(AnchorGenerator, sizes=sizes)),
    )
    _calibrate(model.eval())
    return model


def theirs(model: nn.Module) -> nn.Module:
    """Torchvision's model with the weights of ours, and its anchors, which torchvision would round."""
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=3)
    other = MaskRCNN(backbone, CLASSES + 1, rpn_post_nms_top_n_train=1000)
    other.load_state_dict(torchvision_state(model.state_dict()))
    anchors = model.proposal_generator.anchor_generator
    other.rpn.anchor_generator.cell_anchors = [anchors.get_buffer(f"cell{i}") for i in range(5)]
    return other.eval()


@torch.no_grad()
def _calibrate(model: nn.Module) -> None:
    """Let each last layer give numbers of a mean and spread that trained ones have."""
    rpn, heads = model.proposal_generator.rpn_head, model.roi_heads
    handles = [
        layer.register_forward_hook(lambda module, _, out, m=mean, s=spread: _scale(module, out, m, s))
        for layer, mean, spread in (
            (rpn.objectness_logits, -5.0, 2.0),
            (rpn.anchor_deltas, 0.0, 0.2),
            (heads.box_predictor.cls_score, 0.0, 1.5),
            (heads.box_predictor.bbox_pred, 0.0, 0.5),
            (heads.mask_head.predictor, 0.0, 2.0),
        )
    ]
    before = heads.box_predictor.nms
    heads.box_predictor.nms = replace(before, score_threshold=0.3)
    model(ImageBatch.stack(pictures(1)))
    heads.box_predictor.nms = before
    for handle in handles:
        handle.remove()


def _scale(layer: nn.Module, out: Tensor, mean: float, spread: float) -> Tensor | None:
    if hasattr(layer, "scaled"):
        return None  # the same layer sees all levels; the first is the largest
    channels = [1, -1, *[1] * (out.ndim - 2)]
    layer.scaled, means = True, out.mean([dim for dim in range(out.ndim) if dim != 1])
    scale = spread / (out - means.reshape(channels)).std().item()
    shift = mean - means * scale
    if out.ndim == 2 and out.shape[1] == CLASSES + 1:
        shift[-1] += 6.0  # most regions are background
    before = layer.bias.clone()
    layer.weight.mul_(scale)
    layer.bias.copy_(before * scale + shift)
    return out * scale + shift.reshape(channels)


def pictures(count: int) -> list[Tensor]:
    """Photographs, uint8 (3, 800, 1216)."""
    found = sorted((FOLDER / "images").glob("*.jpg"))[:count]
    return [resize(read_image(path)) for path in found]


def resize(image: Tensor) -> Tensor:
    """An image uint8 (3, H, W) at the size that is measured."""
    return resized(image, SIZE)


def measured(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds of a call, and how many MB it held at most beyond what was held before; Linux alone tells the latter."""
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before, start = _held("VmRSS"), time.perf_counter()
    call()
    return time.perf_counter() - start, _held("VmHWM") - before


def _held(line: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{line}:")[1].split()[0]) / 1024
