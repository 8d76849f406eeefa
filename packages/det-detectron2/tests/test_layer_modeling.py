"""`detectron2.modeling`: parts that programs register, subclass and call."""

from pathlib import Path

import pytest
import torch
from det_core.errors import DetError
from det_detectron2.layer.engine import DefaultTrainer
from det_detectron2.layer.layers import ShapeSpec
from det_detectron2.layer.modeling import (
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    ROI_BOX_HEAD_REGISTRY,
    ROI_HEADS_REGISTRY,
    ROI_MASK_HEAD_REGISTRY,
    Backbone,
    BaseMaskRCNNHead,
    GeneralizedRCNN,
    LayerModel,
    StandardROIHeads,
    build_backbone,
    build_model,
)
from det_detectron2.layer.modeling.facade import LayerRCNN
from det_detectron2.layer.modeling.meta_arch.build import META_ARCH_REGISTRY as ARCHITECTURES
from det_detectron2.layer.modeling.roi_heads.box_head import FastRCNNConvFCHead
from det_detectron2.layer.structures import BitMasks, Boxes, Instances
from layer_programs import small_cfg
from torch import nn


@BACKBONE_REGISTRY.register()
class LayerTestBackbone(Backbone):
    """One convolution of stride 16."""

    def __init__(self, cfg, input_shape):
        super().__init__()
        self.conv = nn.Conv2d(input_shape.channels, 32, 16, stride=16)

    def forward(self, x):
        """One level."""
        return {"conv": self.conv(x).relu()}

    def output_shape(self):
        """Of the level."""
        return {"conv": ShapeSpec(channels=32, stride=16)}


@ROI_HEADS_REGISTRY.register()
class LayerTestROIHeads(StandardROIHeads):
    """Standard heads with a loss more."""

    def forward(self, images, features, proposals, targets=None):
        """As the base's."""
        instances, losses = super().forward(images, features, proposals, targets)
        return instances, ({**losses, "loss_more": losses["loss_cls"] * 0.5} if self.training else losses)


@ROI_BOX_HEAD_REGISTRY.register()
class LayerTestBoxHead(FastRCNNConvFCHead):
    """The usual head by another name."""


@ROI_MASK_HEAD_REGISTRY.register()
class LayerTestMaskHead(BaseMaskRCNNHead):
    """A 1 x 1 convolution."""

    def __init__(self, cfg, input_shape):
        super().__init__(vis_period=0)
        self.predictor = nn.Conv2d(input_shape.channels, cfg.MODEL.ROI_HEADS.NUM_CLASSES, 1)

    def layers(self, x):
        """Logits."""
        return self.predictor(x)


@META_ARCH_REGISTRY.register()
class LayerTestArchitecture(nn.Module):
    """A model of the program alone."""

    def __init__(self, cfg):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, batched_inputs):
        """A loss."""
        images = torch.stack([each["image"].float().mean() for each in batched_inputs])
        return {"loss": self.layer(images[:, None] / 255).pow(2).mean()}


_ONE_LEVEL = (
    *("MODEL.BACKBONE.NAME", "LayerTestBackbone", "MODEL.RPN.IN_FEATURES", ["conv"]),
    *("MODEL.ROI_HEADS.IN_FEATURES", ["conv"], "MODEL.ANCHOR_GENERATOR.SIZES", [[16, 32]]),
)


def _trained(cfg) -> DefaultTrainer:
    class Trainer(DefaultTrainer):
        @classmethod
        def test(cls, cfg, model, evaluators=None):
            """Nothing."""
            return {}

    trainer = Trainer(cfg)
    trainer.train()
    return trainer


@pytest.mark.parametrize(
    "parts",
    [
        _ONE_LEVEL,
        ("MODEL.ROI_HEADS.NAME", "LayerTestROIHeads"),
        ("MODEL.ROI_BOX_HEAD.NAME", "LayerTestBoxHead"),
        ("MODEL.META_ARCHITECTURE", "LayerTestArchitecture"),
    ],
    ids=["backbone", "heads", "box head", "architecture"],
)
def test_registered_part_is_built_from_cfg_and_trains(tmp_path: Path, parts) -> None:
    cfg = small_cfg(tmp_path, *parts, "SOLVER.MAX_ITER", 2)
    torch.manual_seed(0)
    before = {name: value.clone() for name, value in build_model(cfg).state_dict().items()}
    trainer = _trained(cfg)
    assert not isinstance(trainer.model, LayerModel)
    if "LayerTestROIHeads" in parts:
        assert "loss_more" in trainer.storage.histories()
    after = trainer.model.state_dict()
    assert before.keys() == after.keys()
    if "LayerTestArchitecture" not in parts:
        batch = [{"image": torch.zeros(3, 64, 64, dtype=torch.uint8), "height": 128, "width": 128}]
        output = trainer.model.eval()(batch)[0]["instances"]
        assert output.image_size == (128, 128)


def test_registered_mask_head_is_trained_and_predicts(tmp_path: Path) -> None:
    cfg = small_cfg(tmp_path, "MODEL.MASK_ON", True, "MODEL.ROI_MASK_HEAD.NAME", "LayerTestMaskHead")
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    model = build_model(cfg)
    objects = Instances((64, 64), gt_boxes=Boxes([[8, 8, 40, 40]]), gt_classes=torch.tensor([1]))
    objects.gt_masks = BitMasks(torch.ones(1, 64, 64))
    image = torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8)
    losses = model.train()([{"image": image, "instances": objects}])
    assert set(losses) == {"loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc"}
    found = model.eval()([{"image": image}])[0]["instances"]
    assert found.pred_masks.shape == (len(found), 64, 64)


def test_classes_of_the_layer_compute_as_det_does(tmp_path: Path) -> None:
    cfg = small_cfg(tmp_path, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0)
    torch.manual_seed(0)
    ours, theirs = build_model(cfg), ARCHITECTURES.get("GeneralizedRCNN")(cfg)
    assert type(ours) is LayerRCNN
    assert isinstance(ours, GeneralizedRCNN)
    missing = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not missing.missing_keys
    assert not missing.unexpected_keys
    image = torch.randint(0, 255, (3, 96, 128), dtype=torch.uint8)
    batch = [{"image": image, "height": 192, "width": 256}]
    with torch.no_grad():
        first, second = (model.eval()(batch)[0]["instances"] for model in (ours, theirs))
    assert len(first) == len(second) > 0
    torch.testing.assert_close(first.scores, second.scores, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(first.pred_boxes.tensor, second.pred_boxes.tensor, rtol=1e-3, atol=0.05)


def test_stages_of_a_model_are_called_one_by_one(tmp_path: Path) -> None:
    model = build_model(small_cfg(tmp_path, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0)).eval()
    batch = [{"image": torch.randint(0, 255, (3, 96, 128), dtype=torch.uint8)}]
    with torch.no_grad():
        images = model.preprocess_image(batch)
        features = model.backbone(images.tensor)
        proposals, losses = model.proposal_generator(images, features)
        instances, _ = model.roi_heads(images, features, proposals)
        whole = model.inference(batch, do_postprocess=False)
    assert losses == {}
    assert {"p2", "p3", "p4", "p5", "p6"} == set(features)
    torch.testing.assert_close(instances[0].scores, whole[0].scores)
    torch.testing.assert_close(model(batch)[0]["instances"].scores, whole[0].scores)


def test_part_that_fits_no_model_is_named(tmp_path: Path) -> None:
    cfg = small_cfg(tmp_path, *_ONE_LEVEL, "MODEL.META_ARCHITECTURE", "SemanticSegmentor")
    with pytest.raises(DetError, match=r"takes no parts of the program, but MODEL\.BACKBONE\.NAME LayerTestBackbone"):
        build_model(cfg)
    cfg.MODEL.BACKBONE.NAME = "nobody"
    with pytest.raises(KeyError, match="No object named 'nobody' found in 'BACKBONE' registry"):
        build_backbone(cfg)
