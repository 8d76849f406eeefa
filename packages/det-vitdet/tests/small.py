"""Transformers small enough for tests."""

from det_vitdet.mvit import MViT
from det_vitdet.pyramid import SimpleFeaturePyramid
from det_vitdet.swin import Swin
from det_vitdet.vit import ViT


def vit(**options):
    sizes = {"channels": 16, "depth": 2, "heads": 2, "image_size": 96, "window_size": 3, "window_blocks": [0]}
    return ViT(**{**sizes, "pretrain_size": 64, **options})


def pyramid(**options):
    return SimpleFeaturePyramid(vit(**options), out_channels=8)


def mvit(**options):
    sizes = {"channels": 8, "depth": 5, "last_blocks": (0, 1, 3, 4), "window_size": 8, "image_size": 64}
    return MViT(**{**sizes, **options})


def swin(**options):
    sizes = {"channels": 8, "depths": (2, 2, 2, 2), "heads": (1, 2, 4, 8), "window_size": 3, "drop_path_rate": 0.0}
    return Swin(**{**sizes, **options})


ALL = {"vit": vit, "pyramid": pyramid, "mvit": mvit, "swin": swin}
