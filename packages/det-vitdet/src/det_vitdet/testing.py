"""Settings of the conformance kit for the components of this package (hook `det_conformance`)."""

from det_devkit.conformance import conformance

__all__ = ["settings"]

_VIT = {"channels": 16, "depth": 2, "heads": 2, "windows": {"size": 3, "blocks": [0]}, "positions": {"image_size": 96}}
_SWIN = {"channels": 8, "depths": [2, 2, 2, 2], "heads": [1, 2, 4, 8], "window_size": 3, "drop_path_rate": 0.0}
_MVIT = {"channels": 8, "depth": 5, "last_blocks": [0, 1, 3, 4], "pooling": {"window_size": 8}, "image_size": 64}
_FIXED = {"drop_path_rate": 0.0}
_MVITV2 = {"channels": 8, "heads": 1, "last_blocks": [0, 1, 2, 3], **_FIXED}
_SWINS = {"channels": 8, "depths": [2, 2, 2, 2], "heads": [1, 2, 4, 8], **_FIXED}

settings = conformance(
    "det-vitdet",
    examples={
        "backbones/mvit": _MVIT,
        "backbones/simple_feature_pyramid": {"net": {"type": "vit", **_VIT}, "out_channels": 8},
        "backbones/swin": _SWIN,
        "backbones/timm": {"name": "test_resnet"},
        "backbones/vit": _VIT,
        **{f"backbones/vitdet_{size}": {"channels": 16, "depth": 4, "heads": 2, **_FIXED} for size in "blh"},
        **{f"backbones/mvitv2_{size}": _MVITV2 for size in "tsblh"},
        **{f"backbones/swin_{size}": _SWINS for size in "tsbl"},
    },
)
