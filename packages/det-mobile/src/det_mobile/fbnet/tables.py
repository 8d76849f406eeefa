"""The block tables of the published FBNetV3 detectors (Dai et al., "FBNetV3", 2021), by their names in D2Go.

Each network is one line, with stages separated by "|" and entries by ";". An entry is the name of a block, its number
of output channels, and values that differ from the defaults: `s2` for the stride (`s-2` upsamples by 2), `x3` for the
number of repetitions, of which only the first has the stride, and `e6` for the expansion factor.
"""

from collections.abc import Mapping

__all__ = ["ARCHITECTURES", "BASIC_ARGS", "HEADS", "TRUNKS"]

BASIC_ARGS: Mapping[str, bool] = {"dw_skip_bnrelu": True, "zero_last_bn_gamma": False}
"""What all blocks of the published architectures are given."""

TRUNKS: Mapping[str, str] = {
    "default": (
        "conv_k3 32 s2; ir_k3 16 e1 | ir_k3 24 s2 x2 e6 | ir_k3 32 s2 x3 e6 | ir_k3 64 s2 x4 e6; ir_k3 96 x3 e6 | "
        "ir_k3 160 s2 x3 e6; ir_k3 320 e6"
    ),
    "FBNetV3_A_dsmask": (
        "conv_k3 16 s2; ir_k3 16 e1 | ir_k5 32 s2 e4; ir_k5 32 e2 | ir_k5 40 s2 e4; ir_k3 40 x3 e3 | "
        "ir_k5 72 s2 e4; ir_k3 72 x3 e3; ir_k5 112 e4; ir_k5 112 x3 e4 | ir_k5 184 s2 e4; ir_k3 184 x4 e4; ir_k5 200 e6"
    ),
    "FBNetV3_A_dsmask_tiny": (
        "conv_k3 8 s2; ir_k3 8 e1 | ir_k5 16 s2 e3; ir_k5 16 e2 | ir_k5 24 s2 e4; ir_k3 24 x2 e3 | "
        "ir_k5 40 s2 e4; ir_k3 40 x2 e3; ir_k5 64 e4; ir_k5 64 x2 e3 | ir_k5 92 s2 e4; ir_k3 92 x2 e4; ir_k5 92 e6"
    ),
    "FBNetV3_A": (
        "conv_k3 16 s2; ir_k3 16 x2 e1 | ir_k5 24 s2 e4; ir_k5 24 x3 e3 | ir_k5_se 32 s2 e4; ir_k3_se 32 x3 e3 | "
        "ir_k5 64 s2 e4; ir_k3 64 x3 e3; ir_k5_se 112 e4; ir_k5_se 112 x5 e3 | "
        "ir_k5_se 184 s2 e4; ir_k3_se 184 x4 e4; ir_k5_se 200 e6"
    ),
    "FBNetV3_B": (
        "conv_k3 16 s2; ir_k3 16 x2 e1 | ir_k5 24 s2 e4; ir_k5 24 x3 e2 | ir_k5_se 40 s2 e5; ir_k5_se 40 x4 e3 | "
        "ir_k5 72 s2 e5; ir_k3 72 x4 e3; ir_k3_se 120 e5; ir_k5_se 120 x5 e3 | "
        "ir_k3_se 184 s2 e6; ir_k5_se 184 x5 e4; ir_k5_se 224 e6"
    ),
    "FBNetV3_C": (
        "conv_k3 16 s2; ir_k3 16 x2 e1 | ir_k5 24 s2 e5; ir_k3 24 x4 e3 | ir_k5_se 48 s2 e5; ir_k5_se 48 x4 e2 | "
        "ir_k5 88 s2 e4; ir_k3 88 x4 e3; ir_k3_se 120 e4; ir_k5_se 120 x5 e3 | "
        "ir_k5_se 216 s2 e5; ir_k5_se 216 x5 e5; ir_k5_se 216 e6"
    ),
    "FBNetV3_D": (
        "conv_k3 24 s2; ir_k3 16 x2 e1 | ir_k3 24 s2 e5; ir_k3 24 x5 e2 | ir_k5_se 40 s2 e4; ir_k3_se 40 x4 e3 | "
        "ir_k3 72 s2 e5; ir_k3 72 x4 e3; ir_k3_se 128 e5; ir_k5_se 128 x6 e3 | "
        "ir_k3_se 208 s2 e6; ir_k5_se 208 x5 e5; ir_k5_se 240 e6"
    ),
    "FBNetV3_E": (
        "conv_k3 24 s2; ir_k3 16 x3 e1 | ir_k5 24 s2 e4; ir_k5 24 x4 e2 | ir_k5_se 48 s2 e4; ir_k5_se 48 x4 e3 | "
        "ir_k5 80 s2 e5; ir_k3 80 x4 e3; ir_k3_se 128 e5; ir_k5_se 128 x7 e3 | "
        "ir_k3_se 216 s2 e6; ir_k5_se 216 x5 e5; ir_k5_se 240 e6"
    ),
    "FBNetV3_F": (
        "conv_k3 24 s2; ir_k3 24 x3 e1 | ir_k5 32 s2 e4; ir_k5 32 x4 e2 | ir_k5_se 56 s2 e4; ir_k5_se 56 x4 e3 | "
        "ir_k5 88 s2 e5; ir_k3 88 x4 e3; ir_k3_se 144 e5; ir_k5_se 144 x8 e3 | "
        "ir_k3_se 248 s2 e6; ir_k5_se 248 x6 e5; ir_k5_se 272 e6"
    ),
    "FBNetV3_G": (
        "conv_k3 32 s2; ir_k3 24 x3 e1 | ir_k5 40 s2 e4; ir_k5 40 x4 e2 | ir_k5_se 56 s2 e4; ir_k5_se 56 x4 e3 | "
        "ir_k5 104 s2 e5; ir_k3 104 x4 e3; ir_k3_se 160 e5; ir_k5_se 160 x8 e3 | "
        "ir_k3_se 264 s2 e6; ir_k5_se 264 x6 e5; ir_k5_se 288 x2 e6"
    ),
    "FBNetV3_H": (
        "conv_k3 48 s2; ir_k3 32 x4 e1 | ir_k5 64 s2 e4; ir_k5 64 x6 e2 | ir_k5_se 80 s2 e4; ir_k5_se 80 x6 e3 | "
        "ir_k5 160 s2 e5; ir_k3 160 x6 e3; ir_k3_se 240 e5; ir_k5_se 240 x12 e3 | "
        "ir_k3_se 400 s2 e6; ir_k5_se 400 x8 e5; ir_k5_se 480 x3 e6"
    ),
    "FBNetV3_A_no_se": (
        "conv_k3 16 s2; ir_k3 16 x2 e1 | ir_k5 24 s2 e4; ir_k5 24 x3 e3 | ir_k5 32 s2 e4; ir_k3 32 x3 e3 | "
        "ir_k5 64 s2 e4; ir_k3 64 x3 e3; ir_k5 112 e4; ir_k5 112 x5 e3 | ir_k5 184 s2 e4; ir_k3 184 x4 e4; ir_k5 200 e6"
    ),
    "FBNetV3_B_no_se": (
        "conv_k3 16 s2; ir_k3 16 x2 e1 | ir_k5 24 s2 e4; ir_k5 24 x3 e2 | ir_k5 40 s2 e5; ir_k5 40 x4 e3 | "
        "ir_k5 72 s2 e5; ir_k3 72 x4 e3; ir_k3 120 e5; ir_k5 120 x5 e3 | ir_k3 184 s2 e6; ir_k5 184 x5 e4; ir_k5 224 e6"
    ),
    "FBNetV3_B_light_no_se": (
        "conv_k3 16 s2; ir_k3 16 x2 e1 | ir_k5 24 s2 e4; ir_k5 24 x2 e2 | ir_k5 40 s2 e5; ir_k5 40 x3 e3 | "
        "ir_k5 72 s2 e5; ir_k3 72 x4 e3; ir_k3 120 e5; ir_k5 120 x5 e3 | ir_k3 184 s2 e6; ir_k5 184 x5 e4; ir_k5 224 e6"
    ),
}

HEADS: Mapping[str, str] = {
    "large_box": "ir_k3 160 s2 e4; ir_k3 160 x2 e6; ir_k3 240 e6",
    "small_box": "ir_k3 128 s2 e4; ir_k3 128 x2 e6; ir_k3 160 e6",
    "tiny_box": "ir_k3 64 s2 e4; ir_k3 64 x2 e4; ir_k3 80 e4",
    "large_upsample": "ir_k3 160 e4; ir_k3 160 x3 e6; ir_k3 80 s-2 e3",
    "large_upsample_d21": "ir_k3 192 e4; ir_k3 192 x5 e3; ir_k3 96 s-2 e3",
    "small_upsample": "ir_k3 128 e4; ir_k3 128 x3 e6; ir_k3 64 s-2 e3",
    "small_ds_upsample": "ir_k3 128 s2 e4; ir_k3 128 x2 e6; ir_k3 128 s-2 e6; ir_k3 64 s-2 e3",
    "tiny_ds_upsample": "ir_k3 64 s2 e4; ir_k3 64 x2 e4; ir_k3 64 s-2 e4; ir_k3 40 s-2 e3",
    "fpn_upsample": "ir_k3 96 e6; ir_k3 160 x3 e6; ir_k3 80 s-2 e3",
}
"""The tables of heads, by what D2Go calls them without "HEAD_STAGES"; small_upsample belongs to no architecture."""


def _stage(trunk: str, number: int) -> str:
    return TRUNKS[trunk].split("|")[number].strip()


def _trunk(name: str, stages: int = 5) -> str:
    return " | ".join(stage.strip() for stage in TRUNKS[name].split("|")[:stages])


def _parts(
    trunk: str,
    stages: int = 4,
    bbox: str = "",
    mask: str = "",
    kpts: str = "",
    rpn: str = "",
) -> dict[str, str]:
    """The parts of an architecture; its RPN repeats the last entry of the trunk's fourth stage, unless `rpn` is given.

    The box head is the fifth stage of the trunk, unless `bbox` is given.
    """
    parts = {"trunk": _trunk(trunk, stages), "rpn": rpn or _stage(trunk, 3).split(";")[-1].strip()}
    parts["bbox"] = HEADS[bbox] if bbox else _stage(trunk, 4)
    return parts | {name: HEADS[head] for name, head in (("mask", mask), ("kpts", kpts)) if head}


_DS = ("small_ds_upsample", "small_ds_upsample")
_LARGE = ("large_upsample", "large_upsample")
_G = ("large_upsample", "large_upsample_d21")
_B = ("small_ds_upsample", "large_upsample_d21")

ARCHITECTURES: Mapping[str, Mapping[str, str]] = {
    "default": _parts("default", 4, "large_box", *_LARGE),
    "default_dsmask": _parts("default", 4, "small_box", *_DS),
    "FBNetV3_A": _parts("FBNetV3_A", mask="small_ds_upsample"),
    "FBNetV3_A_C5": _parts("FBNetV3_A", 5, mask="small_ds_upsample"),
    "FBNetV3_B": _parts("FBNetV3_B"),
    "FBNetV3_B_C5": _parts("FBNetV3_B", 5),
    "FBNetV3_C": _parts("FBNetV3_C"),
    "FBNetV3_C_C5": _parts("FBNetV3_C", 5),
    "FBNetV3_D": _parts("FBNetV3_D"),
    "FBNetV3_E": _parts("FBNetV3_E"),
    "FBNetV3_F": _parts("FBNetV3_F"),
    "FBNetV3_F_C5": _parts("FBNetV3_F", 5),
    "FBNetV3_G": _parts("FBNetV3_G", 4, "", *_G),
    "FBNetV3_G_C5": _parts("FBNetV3_G", 5, "", *_G),
    "FBNetV3_H": _parts("FBNetV3_H"),
    "FBNetV3_A_dsmask_C5": _parts("FBNetV3_A_dsmask", 5, "small_box", *_DS),
    "FBNetV3_A_dsmask": _parts("FBNetV3_A_dsmask", 4, "small_box", *_DS),
    "FBNetV3_A_dsmask_tiny": _parts(
        "FBNetV3_A_dsmask_tiny", bbox="tiny_box", mask="tiny_ds_upsample", kpts="tiny_ds_upsample"
    ),
    "FBNetV3_B_light_large_3layers": _parts("FBNetV3_B_light_no_se", 3, "small_box", *_B),
    "FBNetV3_B_light_large": _parts("FBNetV3_B_light_no_se", 4, "small_box", *_B),
    "FBNetV3_B_large": _parts("FBNetV3_B_no_se", 4, "large_box", *_B),
    "FBNetV3_B_light_no_se_C5": _parts("FBNetV3_B_light_no_se", 5),
    "FBNetV3_G_fpn": _parts("FBNetV3_G", 5, rpn="ir_k5_se 160 e3", mask="fpn_upsample", kpts="large_upsample_d21"),
}
"""Architecture -> part of a detector ("trunk", "rpn", "bbox", "mask", "kpts") -> its table."""
