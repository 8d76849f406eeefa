"""A backbone and a hook of one's own: python -m det_detectron2 custom.py KEY VALUE ..."""

from pathlib import Path

from detectron2.config import get_cfg
from detectron2.data.datasets import register_coco_instances
from detectron2.engine import DefaultTrainer, HookBase, default_argument_parser, default_setup
from detectron2.layers import Conv2d, ShapeSpec, get_norm
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import nn

CELLS = Path(__file__).parents[1] / "blood-cells"
register_coco_instances("cells", {}, str(CELLS / "instances_train.json"), str(CELLS / "images"))


@BACKBONE_REGISTRY.register()
class SmallBackbone(Backbone):
    """Four convolutions of stride 2; the last one is the only level."""

    def __init__(self, cfg, input_shape):
        super().__init__()
        self.convs = nn.Sequential(
            Conv2d(input_shape.channels, 32, 3, stride=2, padding=1, norm=get_norm("GN", 32), activation=nn.ReLU()),
            Conv2d(32, 64, 3, stride=2, padding=1, norm=get_norm("GN", 64), activation=nn.ReLU()),
            Conv2d(64, 64, 3, stride=2, padding=1, norm=get_norm("GN", 64), activation=nn.ReLU()),
            Conv2d(64, 64, 3, stride=2, padding=1, norm=get_norm("GN", 64), activation=nn.ReLU()),
        )

    def forward(self, image):
        """Images (N, C, H, W) to the level."""
        return {"small": self.convs(image)}

    def output_shape(self):
        """Channels and stride of the level."""
        return {"small": ShapeSpec(channels=64, stride=16)}


class LowestLoss(HookBase):
    """Prints the loss and the lowest so far."""

    def __init__(self):
        self.lowest = float("inf")

    def after_step(self):
        """Print."""
        loss = self.trainer.storage.latest()["total_loss"][0]
        self.lowest = min(self.lowest, loss)
        print(f"iteration {self.trainer.iter}: loss {loss:.3f}, lowest {self.lowest:.3f}")


def main(args):
    """Train."""
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.NAME = "SmallBackbone"
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.RPN.IN_FEATURES = ["small"]
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[32, 64, 128]]
    cfg.MODEL.ROI_HEADS.NAME = "StandardROIHeads"
    cfg.MODEL.ROI_HEADS.IN_FEATURES = ["small"]
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 3
    cfg.MODEL.ROI_BOX_HEAD.NAME = "FastRCNNConvFCHead"
    cfg.MODEL.ROI_BOX_HEAD.NUM_FC = 1
    cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
    cfg.DATASETS.TRAIN = ("cells",)
    cfg.DATASETS.TEST = ()
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.merge_from_list(args.opts)
    default_setup(cfg, args)
    trainer = DefaultTrainer(cfg)
    trainer.register_hooks([LowestLoss()])
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


if __name__ == "__main__":
    main(default_argument_parser().parse_args())
