"""A program for tests: the gradients of the models of plugins, of all images in one process, or of a part in each.

python plugin_gradients.py FOLDER RANK
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from det_core.backbones import FPN, TorchvisionBackbone
from det_core.models import (
    RPN,
    AnchorGenerator,
    AnchorSampler,
    DenseDetector,
    FastRCNNConvFCHead,
    MaskRCNNConvUpsampleHead,
    ProposalNMS,
    RegionSampler,
    Res5Blocks,
    Res5ROIHeads,
    StandardROIHeads,
    faster_rcnn,
)
from det_core.ops.global_batch import global_batch
from det_core.ops.layers import FrozenBatchNorm2d
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Targets
from det_panoptic.deeplab import DeepLabDecoder
from det_panoptic.panoptic_deeplab import PanopticDeepLab, PanopticDeepLabInsEmbedHead, PanopticDeepLabSemSegHead
from det_panoptic.panoptic_fpn import PanopticFPN
from det_panoptic.segments import IDS, SEGMENTS, SegmentIds
from det_panoptic.semantic import SemanticSegmentor, SemSegFPNHead
from det_panoptic.targets import TargetGenerator
from det_pointrend.layers import ImplicitPointHead, RegionLayers, StandardPointHead
from det_pointrend.mask_heads import ImplicitPointRendMaskHead, PointRendMaskHead
from det_pointrend.point_targets import DrawnPoints
from det_pointrend.points import PointSampler
from det_pointrend.semantic import PointRendSemSegHead
from det_tensormask.head import MaskWindows, Subnets, TensorMaskHead
from det_tridentnet.backbone import TridentResNet
from det_tridentnet.model import TridentRCNN
from torch import distributed as dist
from torch import nn

SIZE = (64, 96)
COLORS = ((220, 30, 30), (30, 60, 220))


def example(number: int) -> tuple[torch.Tensor, Targets]:
    """An image with a square of each of two classes, in odd ones a third, on stuff of two classes."""
    random = torch.Generator().manual_seed(number)
    image = torch.randint(90, 120, (3, *SIZE), generator=random, dtype=torch.uint8)
    semantic, ids = torch.zeros(SIZE, dtype=torch.int64), torch.zeros(SIZE, dtype=torch.int64)
    semantic[:, 48 + 8 * number :] = 1
    rows, masks, boxes = [(2, 0, 0), (3, 0, 0)], [], []
    for count in range(2 + number % 2):
        side = int(torch.randint(14, 30, (), generator=random))
        x, y = (int(torch.randint(0, limit - side, (), generator=random)) for limit in (SIZE[1], SIZE[0]))
        mask = torch.zeros(SIZE, dtype=torch.bool)
        mask[y : y + side, x : x + side] = True
        image[:, mask] = torch.tensor(COLORS[count % 2], dtype=torch.uint8)[:, None]
        ids[mask] = len(rows) + 1
        rows.append((count % 2, 1, 0))
        masks.append(mask)
        boxes.append([x, y, x + side, y + side])
    ids[(ids == 0) & (semantic == 0)], ids[(ids == 0) & (semantic == 1)] = 1, 2
    semantic[:, :4] = 255
    labels = torch.tensor([row[0] for row in rows[2:]])
    truth = Targets(boxes=torch.tensor(boxes).float(), labels=labels, masks=torch.stack(masks), semantic=semantic)
    return image, replace(truth, image_extras={IDS: ids.as_subclass(SegmentIds), SEGMENTS: torch.tensor(rows)})


def _backbone(strides: tuple[int, ...] = (8, 16, 32)) -> Any:
    return FrozenBatchNorm2d.replace(TorchvisionBackbone("mobilenet_v3_small", strides=strides))


def _fpn(*strides: int) -> FPN:
    return FPN(_backbone(strides or (8, 16, 32)), out_channels=16)


def _parts() -> dict[str, Any]:
    nms = ProposalNMS(post_nms_topk_train=40, pre_nms_topk_train=60)
    box_head = Factory(FastRCNNConvFCHead, num_fc=1, fc_dim=16)
    sampler = RegionSampler(batch_size_per_image=16)
    return {
        "proposal_generator": Factory(RPN, sampler=AnchorSampler(batch_size_per_image=32), nms=nms),
        "roi_heads": Factory(StandardROIHeads, sampler=sampler, box_head=box_head),
    }


def _rcnn(mask_head: Any) -> nn.Module:
    parts = _parts()
    heads = Factory(
        StandardROIHeads,
        sampler=RegionSampler(batch_size_per_image=16),
        box_head=Factory(FastRCNNConvFCHead, num_fc=1, fc_dim=16),
        heads={"mask_head": mask_head},
    )
    return faster_rcnn(_fpn(), 2, proposal_generator=parts["proposal_generator"], roi_heads=heads)


def _pointrend() -> nn.Module:
    head = Factory(
        PointRendMaskHead,
        region_layers=RegionLayers(fc_dim=16),
        point_head=Factory(StandardPointHead, fc_dim=8),
        sampler=PointSampler(20),
    )
    return _rcnn(head)


def _implicit_pointrend() -> nn.Module:
    head = Factory(
        ImplicitPointRendMaskHead,
        region_layers=RegionLayers(fc_dim=16),
        point_head=Factory(ImplicitPointHead, fc_dim=8, num_fc=1),
        points=DrawnPoints(20),
        regularization=1.0,
    )
    return _rcnn(head)


def _pointrend_semantic() -> nn.Module:
    backbone = _fpn(4, 8, 16)
    head = Factory(
        PointRendSemSegHead,
        coarse_head=Factory(SemSegFPNHead, conv_dim=32),
        point_head=Factory(StandardPointHead, fc_dim=8),
        num_points=30,
    )
    return SemanticSegmentor(backbone, 2, sem_seg_head=head)


def _panoptic_fpn() -> nn.Module:
    mask_head = Factory(MaskRCNNConvUpsampleHead, num_conv=1, conv_dim=8)
    return PanopticFPN(
        _fpn(4, 8, 16), 2, 2, **_parts(), mask_head=mask_head, sem_seg_head=Factory(SemSegFPNHead, conv_dim=32)
    )


def _panoptic_deeplab() -> nn.Module:
    options = {"in_features": ("c2", "c3", "c4"), "project_channels": (8, 8), "decoder_channels": 16}
    decoder = Factory(DeepLabDecoder, **options, aspp_channels=16, norm="", aspp_dropout=0.0)
    model = PanopticDeepLab(
        _backbone((4, 8, 16)),
        num_classes=4,
        things=(0, 1),
        sem_seg_head=Factory(PanopticDeepLabSemSegHead, decoder=decoder, head_channels=16),
        ins_embed_head=Factory(PanopticDeepLabInsEmbedHead, decoder=decoder, head_channels=16),
        targets=TargetGenerator(sigma=2, small_area=0),
    )
    # Which pixels are the hardest is a matter of rounding while all of them are alike.
    nn.init.normal_(model.sem_seg_head.predictor.weight)
    return model


def _tensormask() -> nn.Module:
    subnets = Subnets(num_convs=1, class_channels=8, box_channels=8, mask_channels=8)
    head = Factory(TensorMaskHead, masks=MaskWindows(windows=(5, 9)), subnets=subnets)
    return DenseDetector(FPN(_backbone((4, 8)), out_channels=16, top=None), head=head, num_classes=2)


def _tridentnet() -> nn.Module:
    backbone = TridentResNet(50, stem_channels=8, res2_channels=16, width_per_group=4)
    proposals = Factory(
        RPN,
        anchor_generator=Factory(AnchorGenerator, sizes=[[16, 32, 64]]),
        sampler=AnchorSampler(batch_size_per_image=32),
        nms=ProposalNMS(post_nms_topk_train=40),
    )
    blocks = Res5Blocks(out_channels=16, width_per_group=1)
    heads = Factory(Res5ROIHeads, res5=blocks, sampler=RegionSampler(batch_size_per_image=16))
    return TridentRCNN(backbone, 2, proposal_generator=proposals, roi_heads=heads)


MODELS = {
    "pointrend": _pointrend,
    "implicit_pointrend": _implicit_pointrend,
    "pointrend_semantic": _pointrend_semantic,
    "panoptic_fpn": _panoptic_fpn,
    "panoptic_deeplab": _panoptic_deeplab,
    "tensormask": _tensormask,
    "tridentnet": _tridentnet,
}


def gradients(rank: int = 0, world_size: int = 1, images: int = 4) -> dict[str, dict[str, torch.Tensor]]:
    """Name of a model -> gradients and losses, the means over all processes."""
    found = {}
    group = dist.group.WORLD if world_size > 1 else None
    mine = range(rank, images, world_size)
    examples = [example(number) for number in mine]
    for name, build in MODELS.items():
        torch.manual_seed(0)
        model = build().train()
        torch.manual_seed(rank)  # whatever is drawn from the global generator differs
        batch = ImageBatch.stack([image for image, _ in examples])
        with global_batch([(7, number) for number in mine], torch.device("cpu"), group):
            losses = model(batch, [truth for _, truth in examples])
        torch.stack(list(losses.values())).sum().backward()
        values = {key: value.detach() for key, value in losses.items()}
        values |= {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
        if world_size > 1:
            for value in values.values():
                dist.all_reduce(value)
                value /= world_size
        found[name] = values
    return found


if __name__ == "__main__":
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=number, world_size=2)
    result = gradients(number, 2)
    if number == 0:
        torch.save(result, folder / "together.pt")
    dist.destroy_process_group()
