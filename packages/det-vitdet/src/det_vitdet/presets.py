"""The published transformers by their names: their sizes are the defaults, and smaller ones are good for trying.

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

Four = tuple[int, int, int, int]


def _vitdet(
    channels: int, depth: int, heads: int, drop_path_rate: float, activation_checkpointing: bool, pad_to: int
) -> SimpleFeaturePyramid:
    every = max(depth // 4, 1)  # four blocks, evenly spread, look everywhere
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


def _mvit(
    channels: int,
    heads: int,
    last_blocks: Four,
    drop_path_rate: float,
    activation_checkpointing: bool,
    pad_to: int,
) -> MViT:
    return MViT(
        channels=channels,
        depth=last_blocks[-1] + 1,
        heads=heads,
        last_blocks=last_blocks,
        drop_path_rate=drop_path_rate,
        activation_checkpointing=activation_checkpointing,
        pad_to=pad_to,
    )


def _swin(
    channels: int, depths: Four, heads: Four, drop_path_rate: float, activation_checkpointing: bool, pad_to: int
) -> Swin:
    return Swin(
        channels=channels,
        depths=depths,
        heads=heads,
        drop_path_rate=drop_path_rate,
        activation_checkpointing=activation_checkpointing,
        pad_to=pad_to,
    )


def vitdet_b(
    *,
    channels: int = 768,
    depth: int = 12,
    heads: int = 12,
    drop_path_rate: float = 0.1,
    activation_checkpointing: bool = False,
    pad_to: int = 0,
) -> SimpleFeaturePyramid:
    """ViT-B with windows and a simple feature pyramid; the arguments are those of `ViT`."""
    return _vitdet(channels, depth, heads, drop_path_rate, activation_checkpointing, pad_to)


def vitdet_l(
    *,
    channels: int = 1024,
    depth: int = 24,
    heads: int = 16,
    drop_path_rate: float = 0.4,
    activation_checkpointing: bool = False,
    pad_to: int = 0,
) -> SimpleFeaturePyramid:
    """ViT-L with windows and a simple feature pyramid; the arguments are those of `ViT`."""
    return _vitdet(channels, depth, heads, drop_path_rate, activation_checkpointing, pad_to)


def vitdet_h(
    *,
    channels: int = 1280,
    depth: int = 32,
    heads: int = 16,
    drop_path_rate: float = 0.5,
    activation_checkpointing: bool = False,
    pad_to: int = 0,
) -> SimpleFeaturePyramid:
    """ViT-H with windows and a simple feature pyramid; the arguments are those of `ViT`."""
    return _vitdet(channels, depth, heads, drop_path_rate, activation_checkpointing, pad_to)


def mvitv2_t(
    *,
    channels: int = 96,
    heads: int = 1,
    last_blocks: Four = (0, 2, 7, 9),
    drop_path_rate: float = 0.2,
    activation_checkpointing: bool = False,
    pad_to: int = 0,
) -> MViT:
    """MViTv2-T; the arguments are those of `MViT`."""
    return _mvit(channels, heads, last_blocks, drop_path_rate, activation_checkpointing, pad_to)


def mvitv2_s(
    *,
    channels: int = 96,
    heads: int = 1,
    last_blocks: Four = (0, 2, 13, 15),
    drop_path_rate: float = 0.2,
    activation_checkpointing: bool = False,
    pad_to: int = 0,
) -> MViT:
    """MViTv2-S; the arguments are those of `MViT`."""
    return _mvit(channels, heads, last_blocks, drop_path_rate, activation_checkpointing, pad_to)


def mvitv2_b(
    *,
    channels: int = 96,
    heads: int = 1,
    last_blocks: Four = (1, 4, 20, 23),
    drop_path_rate: float = 0.4,
    activation_checkpointing: bool = False,
    pad_to: int = 0,
) -> MViT:
    """MViTv2-B; the arguments are those of `MViT`."""
    return _mvit(channels, heads, last_blocks, drop_path_rate, activation_checkpointing, pad_to)


def mvitv2_l(
    *,
    channels: int = 144,
    heads: int = 2,
    last_blocks: Four = (1, 7, 43, 47),
    drop_path_rate: float = 0.5,
    activation_checkpointing: bool = False,
    pad_to: int = 0,
) -> MViT:
    """MViTv2-L; the arguments are those of `MViT`."""
    return _mvit(channels, heads, last_blocks, drop_path_rate, activation_checkpointing, pad_to)


def mvitv2_h(
    *,
    channels: int = 192,
    heads: int = 3,
    last_blocks: Four = (3, 11, 71, 79),
    drop_path_rate: float = 0.6,
    activation_checkpointing: bool = True,
    pad_to: int = 0,
) -> MViT:
    """MViTv2-H; the arguments are those of `MViT`."""
    return _mvit(channels, heads, last_blocks, drop_path_rate, activation_checkpointing, pad_to)


def swin_t(
    *,
    channels: int = 96,
    depths: Four = (2, 2, 6, 2),
    heads: Four = (3, 6, 12, 24),
    drop_path_rate: float = 0.2,
    activation_checkpointing: bool = False,
    pad_to: int = 0,
) -> Swin:
    """Swin-T; the arguments are those of `Swin`."""
    return _swin(channels, depths, heads, drop_path_rate, activation_checkpointing, pad_to)


def swin_s(
    *,
    channels: int = 96,
    depths: Four = (2, 2, 18, 2),
    heads: Four = (3, 6, 12, 24),
    drop_path_rate: float = 0.2,
    activation_checkpointing: bool = False,
    pad_to: int = 0,
) -> Swin:
    """Swin-S; the arguments are those of `Swin`."""
    return _swin(channels, depths, heads, drop_path_rate, activation_checkpointing, pad_to)


def swin_b(
    *,
    channels: int = 128,
    depths: Four = (2, 2, 18, 2),
    heads: Four = (4, 8, 16, 32),
    drop_path_rate: float = 0.4,
    activation_checkpointing: bool = False,
    pad_to: int = 0,
) -> Swin:
    """Swin-B; the arguments are those of `Swin`."""
    return _swin(channels, depths, heads, drop_path_rate, activation_checkpointing, pad_to)


def swin_l(
    *,
    channels: int = 192,
    depths: Four = (2, 2, 18, 2),
    heads: Four = (6, 12, 24, 48),
    drop_path_rate: float = 0.4,
    activation_checkpointing: bool = False,
    pad_to: int = 0,
) -> Swin:
    """Swin-L; the arguments are those of `Swin`."""
    return _swin(channels, depths, heads, drop_path_rate, activation_checkpointing, pad_to)
