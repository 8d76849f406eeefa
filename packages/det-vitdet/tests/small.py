"""Transformers small enough for tests."""

from dataclasses import fields

from det_vitdet.mvit import MViT, PooledWindows
from det_vitdet.pyramid import SimpleFeaturePyramid
from det_vitdet.swin import Swin
from det_vitdet.vit import Positions, ViT, Windows


def vit(**options):
    """Settings of windows (`size`, `blocks`) and of positions stand beside the arguments of `ViT`."""
    sizes = {"channels": 16, "depth": 2, "heads": 2, "image_size": 96, "size": 3, "blocks": [0], "pretrain_size": 64}
    given = {**sizes, **options}
    windows = Windows(given.pop("size"), given.pop("blocks"))
    positions = Positions(**{each.name: given.pop(each.name) for each in fields(Positions) if each.name in given})
    return ViT(windows=windows, positions=positions, **given)


def pyramid(**options):
    return SimpleFeaturePyramid(vit(**options), out_channels=8)


def mvit(**options):
    sizes = {"channels": 8, "depth": 5, "last_blocks": (0, 1, 3, 4), "image_size": 64}
    return MViT(**{**sizes, "pooling": PooledWindows(window_size=8), **options})


def swin(**options):
    sizes = {"channels": 8, "depths": (2, 2, 2, 2), "heads": (1, 2, 4, 8), "window_size": 3, "drop_path_rate": 0.0}
    return Swin(**{**sizes, **options})


ALL = {"vit": vit, "pyramid": pyramid, "mvit": mvit, "swin": swin}
