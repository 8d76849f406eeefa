"""Exported programs of detectors with FBNet heads, whose number of regions is free, predict as the model."""

import pytest
import torch
from det_core.structures import ImageBatch
from det_export.check import compare
from det_export.formats.torch_export import TorchExporter
from small import BLOCKS, built, c4_tree, images

HEADS = {
    "faster_rcnn": {},
    "mask_rcnn": {"mask_head": {"type": "det-mobile/fbnet_mask_head", "blocks": BLOCKS, "in_features": ["trunk3"]}},
}


@pytest.mark.parametrize("kind", HEADS)
def test_exported_program_predicts_as_the_model(kind, tmp_path):
    few = {"score_threshold": 0.2, "max_detections": 10}
    tree = {**c4_tree(box_predictor={"nms": few}), "type": kind, **HEADS[kind]}
    tree["proposal_generator"]["nms"] = {"pre_nms_topk_test": 50, "post_nms_topk_test": 12}
    model = built(tree).eval()
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    example = ImageBatch(pixels=torch.zeros(1, 3, 128, 160, dtype=torch.uint8), sizes=((128, 160),))
    exporter = TorchExporter()
    path = exporter.export(model, example, tmp_path / "model")
    agreement = compare(model, exporter.load(path), [("noise", images(1).pixels[0])], [(96, 128), (112, 112)], path)
    assert agreement.rows[0].expected > 0
    assert agreement.agrees, agreement.rows
