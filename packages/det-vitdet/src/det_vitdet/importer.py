"""Detectron2's ViTDet, MViTv2 and Swin configurations (hook `det_importers`)."""

from collections.abc import Mapping
from typing import Any

from det_detectron2.importer.detectron2 import Backbone, UnsupportedError
from det_detectron2.importer.lazy_objects import NEEDED, Objects
from det_detectron2.importer.settings import Settings

__all__ = ["EXTENSION"]

Table = Mapping[str, tuple[str, Any, Any]]
"""Argument -> our argument, default of the published class, our default."""

_VIT: Table = {
    "img_size": ("image_size", 1024, 1024),
    "patch_size": ("patch_size", 16, 16),
    "embed_dim": ("channels", 768, 768),
    "depth": ("depth", 12, 12),
    "num_heads": ("heads", 12, 12),
    "mlp_ratio": ("mlp_ratio", 4.0, 4.0),
    "qkv_bias": ("qkv_bias", True, True),
    "drop_path_rate": ("drop_path_rate", 0.0, 0.0),
    "window_size": ("window_size", 0, 14),
    "window_block_indexes": ("window_blocks", [], [0, 1, 3, 4, 6, 7, 9, 10]),
    "residual_block_indexes": ("residual_blocks", [], []),
    "use_abs_pos": ("absolute_positions", True, True),
    "use_rel_pos": ("relative_positions", False, True),
    "pretrain_img_size": ("pretrain_size", 224, 224),
    "pretrain_use_cls_token": ("pretrain_class_token", True, True),
    "use_act_checkpoint": ("activation_checkpointing", False, False),
}
_MVIT: Table = {
    "img_size": ("image_size", 224, 224),
    "embed_dim": ("channels", 96, 96),
    "depth": ("depth", 16, 10),
    "num_heads": ("heads", 1, 1),
    "last_block_indexes": ("last_blocks", [0, 2, 11, 15], [0, 2, 7, 9]),
    "adaptive_kv_stride": ("kv_stride", 4, 4),
    "adaptive_window_size": ("window_size", 56, 56),
    "residual_pooling": ("residual_pooling", True, True),
    "mlp_ratio": ("mlp_ratio", 4.0, 4.0),
    "drop_path_rate": ("drop_path_rate", 0.0, 0.0),
    "out_features": (
        "out_features",
        ["scale2", "scale3", "scale4", "scale5"],
        ["scale2", "scale3", "scale4", "scale5"],
    ),
    "use_act_checkpoint": ("activation_checkpointing", False, False),
}
_SWIN: Table = {
    "embed_dim": ("channels", 96, 96),
    "depths": ("depths", [2, 2, 6, 2], [2, 2, 6, 2]),
    "num_heads": ("heads", [3, 6, 12, 24], [3, 6, 12, 24]),
    "window_size": ("window_size", 7, 7),
    "mlp_ratio": ("mlp_ratio", 4.0, 4.0),
    "drop_path_rate": ("drop_path_rate", 0.2, 0.2),
    "use_checkpoint": ("activation_checkpointing", False, False),
}
# Values of arguments that have no equivalent here; any other value is an error.
_FIXED: Mapping[str, Mapping[str, Any]] = {
    "vit": {"in_chans": 3},
    "mvit": {
        "in_chans": 3,
        "patch_kernel": [7, 7],
        "patch_stride": [4, 4],
        "patch_padding": [3, 3],
        "qkv_pool_kernel": [3, 3],
        "qkv_bias": True,
        "use_abs_pos": False,
        "use_rel_pos": True,
    },
    "swin": {
        "in_chans": 3,
        "patch_size": 4,
        "patch_norm": True,
        "qkv_bias": True,
        "qk_scale": None,
        "ape": False,
        "drop_rate": 0.0,
        "attn_drop_rate": 0.0,
        "frozen_stages": -1,
    },
}
# Parts that a classification network lacks, by our type.
_NOT_PRETRAINED = {"vit": ["*.rel_pos_h", "*.rel_pos_w"], "mvit": ["scale*_norm"], "swin": ["norm*"]}


def _network(o: Objects, path: str, kind: str, table: Table) -> dict[str, Any]:
    """Node of a network, with the arguments that differ from our defaults."""
    for argument, value in _FIXED[kind].items():
        setting = o(f"{path}.{argument}", value)
        if (list(setting) if isinstance(setting, tuple) else setting) != value:
            raise UnsupportedError(
                f"{path}.{argument}", "is not supported yet", f"got {setting!r}", f"supported: {value!r}"
            )
    # These change only the initial weights, or repeat another argument.
    o.ignore(f"{path}.rel_pos_zero_init", f"{path}.pretrain_img_size", f"{path}.pretrain_use_cls_token")
    node: dict[str, Any] = {"type": kind}
    for argument, (name, theirs, ours) in table.items():
        value = o(f"{path}.{argument}", theirs)
        if (value := list(value) if isinstance(value, tuple) else value) != ours:
            node[name] = value
    # The published networks pad their input; here the pyramid on top does.
    if least := o("model.backbone.square_pad", 0):
        node["pad_to"] = least
    return node


def _require_norm(o: Objects, path: str) -> None:
    if o.partial(f"{path}.norm_layer") != ("LayerNorm", {"eps": 1e-6}):
        raise UnsupportedError(
            f"{path}.norm_layer", "must be a LayerNorm with eps=1e-6", f"got {o(path + '.norm_layer', None)}"
        )


def _pyramid(o: Objects, path: str) -> Backbone:
    o.require(f"{path}.net.kind", "ViT")
    o.require(f"{path}.in_feature", o(f"{path}.net.out_feature", "last_feat"))
    _require_norm(o, f"{path}.net")
    net = _network(o, f"{path}.net", "vit", _VIT)
    node: dict[str, Any] = {"type": "simple_feature_pyramid", "net": net}
    if (width := o(f"{path}.out_channels", NEEDED)) != 256:
        node["out_channels"] = width
    scales = list(o(f"{path}.scale_factors", NEEDED))
    if scales != [4.0, 2.0, 1.0, 0.5]:
        node["scales"] = scales
    if (norm := o.norm(f"{path}.norm", "LN")) != "LN":
        node["norm"] = norm
    top = o.require(f"{path}.top_block.kind", "LastLevelMaxPool", None)
    if top is None:
        node["top"] = None
    strides = [int(net.get("patch_size", 16) / scale) for scale in scales]
    strides += [] if top is None else [2 * strides[-1]]
    return Backbone(node, {f"p{stride.bit_length() - 1}": stride for stride in strides}, whole=True)


def _mvit(o: Objects, path: str) -> Backbone:
    _require_norm(o, path)
    node = _network(o, path, "mvit", _MVIT)
    names = node.get("out_features", [f"scale{level}" for level in (2, 3, 4, 5)])
    return Backbone(node, {name: 2 ** int(name.removeprefix("scale")) for name in names})


def _swin(o: Objects, path: str) -> Backbone:
    o.require(f"{path}.norm_layer", None, "LayerNorm")
    node = _network(o, path, "swin", _SWIN)
    names = [f"p{stage}" for stage in o(f"{path}.out_indices", (0, 1, 2, 3))]
    if names != ["p0", "p1", "p2", "p3"]:
        node["out_features"] = names
    return Backbone(node, {name: 4 * 2 ** int(name.removeprefix("p")) for name in names})


PARTS = {
    ("model.backbone.kind", "SimpleFeaturePyramid"): _pyramid,
    ("model.backbone.bottom_up.kind", "MViT"): _mvit,
    ("model.backbone.bottom_up.kind", "SwinTransformer"): _swin,
}


def complete(settings: Settings, tree: dict[str, Any]) -> None:
    """Add the part of the model that the pretrained weights are for, and the parts that they lack."""
    weights = tree.get("weights", {})
    if "into" in weights:
        part = "net" if tree["model"]["backbone"]["type"] == "simple_feature_pyramid" else "bottom_up"
        weights["into"] = f"backbone.{part}"
        weights["skip"] = _NOT_PRETRAINED[tree["model"]["backbone"][part]["type"]]


EXTENSION = {"parts": PARTS, "complete": complete}
