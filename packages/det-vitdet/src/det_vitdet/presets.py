"""The published transformers by their names, each a call with the sizes filled in.

Those of ViTDet are whole backbones; those of MViTv2 and Swin stand underneath an `fpn`. How often residuals are left
out is that of the published COCO configurations.
"""

from det_vitdet.mvit import MViT
from det_vitdet.pyramid import SimpleFeaturePyramid
from det_vitdet.swin import Swin
from det_vitdet.vit import ViT

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
    "vitdet_b",
    "vitdet_h",
    "vitdet_l",
]


def _vitdet(
    channels: int, depth: int, heads: int, drop_path_rate: float, activation_checkpointing: bool, pad_to: int
) -> SimpleFeaturePyramid:
    every = depth // 4  # four blocks, evenly spread, look everywhere
    windows = [number for number in range(depth) if number % every != every - 1]
    net = ViT(
        channels=channels,
        depth=depth,
        heads=heads,
        window_blocks=windows,
        drop_path_rate=drop_path_rate,
        activation_checkpointing=activation_checkpointing,
        pad_to=pad_to,
    )
    return SimpleFeaturePyramid(net)


def vitdet_b(
    *, drop_path_rate: float = 0.1, activation_checkpointing: bool = False, pad_to: int = 0
) -> SimpleFeaturePyramid:
    """ViT-B with windows and a simple feature pyramid; the arguments are those of `ViT`."""
    return _vitdet(768, 12, 12, drop_path_rate, activation_checkpointing, pad_to)


def vitdet_l(
    *, drop_path_rate: float = 0.4, activation_checkpointing: bool = False, pad_to: int = 0
) -> SimpleFeaturePyramid:
    """ViT-L with windows and a simple feature pyramid; the arguments are those of `ViT`."""
    return _vitdet(1024, 24, 16, drop_path_rate, activation_checkpointing, pad_to)


def vitdet_h(
    *, drop_path_rate: float = 0.5, activation_checkpointing: bool = False, pad_to: int = 0
) -> SimpleFeaturePyramid:
    """ViT-H with windows and a simple feature pyramid; the arguments are those of `ViT`."""
    return _vitdet(1280, 32, 16, drop_path_rate, activation_checkpointing, pad_to)


def mvitv2_t(*, drop_path_rate: float = 0.2, activation_checkpointing: bool = False, pad_to: int = 0) -> MViT:
    """MViTv2-T; the arguments are those of `MViT`."""
    return MViT(
        channels=96,
        depth=10,
        heads=1,
        last_blocks=(0, 2, 7, 9),
        drop_path_rate=drop_path_rate,
        activation_checkpointing=activation_checkpointing,
        pad_to=pad_to,
    )


def mvitv2_s(*, drop_path_rate: float = 0.2, activation_checkpointing: bool = False, pad_to: int = 0) -> MViT:
    """MViTv2-S; the arguments are those of `MViT`."""
    return MViT(
        channels=96,
        depth=16,
        heads=1,
        last_blocks=(0, 2, 13, 15),
        drop_path_rate=drop_path_rate,
        activation_checkpointing=activation_checkpointing,
        pad_to=pad_to,
    )


def mvitv2_b(*, drop_path_rate: float = 0.4, activation_checkpointing: bool = False, pad_to: int = 0) -> MViT:
    """MViTv2-B; the arguments are those of `MViT`."""
    return MViT(
        channels=96,
        depth=24,
        heads=1,
        last_blocks=(1, 4, 20, 23),
        drop_path_rate=drop_path_rate,
        activation_checkpointing=activation_checkpointing,
        pad_to=pad_to,
    )


def mvitv2_l(*, drop_path_rate: float = 0.5, activation_checkpointing: bool = False, pad_to: int = 0) -> MViT:
    """MViTv2-L; the arguments are those of `MViT`."""
    return MViT(
        channels=144,
        depth=48,
        heads=2,
        last_blocks=(1, 7, 43, 47),
        drop_path_rate=drop_path_rate,
        activation_checkpointing=activation_checkpointing,
        pad_to=pad_to,
    )


def mvitv2_h(*, drop_path_rate: float = 0.6, activation_checkpointing: bool = True, pad_to: int = 0) -> MViT:
    """MViTv2-H; the arguments are those of `MViT`."""
    return MViT(
        channels=192,
        depth=80,
        heads=3,
        last_blocks=(3, 11, 71, 79),
        drop_path_rate=drop_path_rate,
        activation_checkpointing=activation_checkpointing,
        pad_to=pad_to,
    )


def swin_t(*, drop_path_rate: float = 0.2, activation_checkpointing: bool = False, pad_to: int = 0) -> Swin:
    """Swin-T; the arguments are those of `Swin`."""
    return Swin(
        channels=96,
        depths=(2, 2, 6, 2),
        heads=(3, 6, 12, 24),
        drop_path_rate=drop_path_rate,
        activation_checkpointing=activation_checkpointing,
        pad_to=pad_to,
    )


def swin_s(*, drop_path_rate: float = 0.2, activation_checkpointing: bool = False, pad_to: int = 0) -> Swin:
    """Swin-S; the arguments are those of `Swin`."""
    return Swin(
        channels=96,
        depths=(2, 2, 18, 2),
        heads=(3, 6, 12, 24),
        drop_path_rate=drop_path_rate,
        activation_checkpointing=activation_checkpointing,
        pad_to=pad_to,
    )


def swin_b(*, drop_path_rate: float = 0.4, activation_checkpointing: bool = False, pad_to: int = 0) -> Swin:
    """Swin-B; the arguments are those of `Swin`."""
    return Swin(
        channels=128,
        depths=(2, 2, 18, 2),
        heads=(4, 8, 16, 32),
        drop_path_rate=drop_path_rate,
        activation_checkpointing=activation_checkpointing,
        pad_to=pad_to,
    )


def swin_l(*, drop_path_rate: float = 0.4, activation_checkpointing: bool = False, pad_to: int = 0) -> Swin:
    """Swin-L; the arguments are those of `Swin`."""
    return Swin(
        channels=192,
        depths=(2, 2, 18, 2),
        heads=(6, 12, 24, 48),
        drop_path_rate=drop_path_rate,
        activation_checkpointing=activation_checkpointing,
        pad_to=pad_to,
    )
