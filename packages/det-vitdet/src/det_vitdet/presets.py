"""The published transformers by name, with the published sizes as defaults; smaller values suit experiments.

Those of ViTDet are complete backbones; MViTv2 and Swin go underneath an `fpn`. The stochastic depth rates are
those of the published COCO configurations.
"""

from functools import partial

from det_vitdet.mvit import MViT
from det_vitdet.pyramid import SimpleFeaturePyramid
from det_vitdet.swin import Swin
from det_vitdet.vit import ViT, Windows

__all__ = [
    "mvitv2_b",
    "mvitv2_h",
    "mvitv2_l",
    "mvitv2_s",
    "mvitv2_t",
    "swin_b",
    "swin_l",
    "swin_s",
    "swin_t",
    "vitdet",
    "vitdet_b",
    "vitdet_h",
    "vitdet_l",
]


def vitdet(
    *,
    channels: int = 768,
    depth: int = 12,
    heads: int = 12,
    drop_path_rate: float = 0.1,
    activation_checkpointing: bool = False,
    pad_to: int = 0,
) -> SimpleFeaturePyramid:
    """A `ViT` with four evenly spaced global attention blocks and a simple feature pyramid; arguments as of `ViT`."""
    every = max(depth // 4, 1)
    net = ViT(
        channels=channels,
        depth=depth,
        heads=heads,
        windows=Windows(blocks=[number for number in range(depth) if number % every != every - 1]),
        drop_path_rate=drop_path_rate,
        activation_checkpointing=activation_checkpointing,
        pad_to=pad_to,
    )
    return SimpleFeaturePyramid(net)


vitdet_b = partial(vitdet, channels=768, depth=12, heads=12, drop_path_rate=0.1)
vitdet_l = partial(vitdet, channels=1024, depth=24, heads=16, drop_path_rate=0.4)
vitdet_h = partial(vitdet, channels=1280, depth=32, heads=16, drop_path_rate=0.5)

mvitv2_t = partial(MViT, channels=96, heads=1, last_blocks=(0, 2, 7, 9), drop_path_rate=0.2)
mvitv2_s = partial(MViT, channels=96, heads=1, last_blocks=(0, 2, 13, 15), drop_path_rate=0.2)
mvitv2_b = partial(MViT, channels=96, heads=1, last_blocks=(1, 4, 20, 23), drop_path_rate=0.4)
mvitv2_l = partial(MViT, channels=144, heads=2, last_blocks=(1, 7, 43, 47), drop_path_rate=0.5)
mvitv2_h = partial(
    MViT,
    channels=192,
    heads=3,
    last_blocks=(3, 11, 71, 79),
    drop_path_rate=0.6,
    activation_checkpointing=True,
)

swin_t = partial(Swin, channels=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24), drop_path_rate=0.2)
swin_s = partial(Swin, channels=96, depths=(2, 2, 18, 2), heads=(3, 6, 12, 24), drop_path_rate=0.2)
swin_b = partial(Swin, channels=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32), drop_path_rate=0.4)
swin_l = partial(Swin, channels=192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48), drop_path_rate=0.4)
