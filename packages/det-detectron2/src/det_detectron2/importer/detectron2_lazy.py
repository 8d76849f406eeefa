"""Detectron2's Python configurations as recipes.

Such a file describes a tree of calls. It is given as flat settings, {"model.backbone.out_channels": 256}, where "kind"
is the called class; missing arguments have the defaults of that class. Most of it is equivalent to settings of a YAML
configuration and is translated as those; parts without YAML settings, such as FCOS, are translated directly.
"""

from collections.abc import Mapping
from typing import Any

from det_detectron2.importer.detectron2 import (
    Backbone,
    Imported,
    backbone_section,
    complete_tree,
    input_section,
    model_section,
)
from det_detectron2.importer.extensions import translator
from det_detectron2.importer.lazy_heads import shuffled_heads
from det_detectron2.importer.lazy_model import fcos_head, level_norms_of_head, regnet, settings_of_model
from det_detectron2.importer.lazy_objects import Objects
from det_detectron2.importer.lazy_training import adamw, settings_of_training, transforms
from det_detectron2.importer.settings import Settings, UnsupportedError

__all__ = ["recipe_from_objects"]


def recipe_from_objects(settings: Mapping[str, Any], summary: str = "") -> Imported:
    """The recipe of a published configuration that is a Python file.

    Args:
        settings: flat, with dots in the names, as in `{"model.kind": "FCOS", "model.num_classes": 80}`.
        summary: summary of the recipe.

    Raises:
        UnsupportedError: the model needs a part without a counterpart here, or has an unknown argument.
    """
    o = Objects(settings)
    s = Settings(settings_of_model(o) | settings_of_training(o))
    tree = complete_tree(s, _model(o, s), summary, settings)
    tree["train"] |= adamw(o)
    for split, key in (("train", "train_transforms"), ("test", "eval_transforms")):
        if f"dataloader.{split}.kind" in settings:
            tree["data"][key] = transforms(o, split)
    unused = sorted([*o.leftover(), *s.leftover()[1]])
    if lost := [key for key in unused if key.startswith("model.")]:
        raise UnsupportedError(lost[0], "is not supported yet", f"it is set to {settings[lost[0]]!r}")
    return Imported(tree, [], unused)


def _model(o: Objects, s: Settings) -> dict[str, Any]:
    kind = o("model.kind")
    replacement = _custom_backbone(o)
    model: dict[str, Any]
    if kind == "FCOS":
        backbone, strides = backbone_section(s, replacement)
        common = input_section(s, "MODEL.RETINANET.NUM_CLASSES")
        model = {"type": "dense_detector", **common, "backbone": backbone, "head": fcos_head(o, strides)}
    else:
        model = model_section(s, replacement)
    if o("model.backbone.top_block.in_feature", "res5").startswith("p"):
        model["backbone"]["top_input"] = "pyramid"
    for head, kind_of_head in shuffled_heads(o).items():
        part = model.setdefault("roi_heads", {"type": "standard_roi_heads"}) if head == "box_head" else model
        part.setdefault(head, {"type": kind_of_head})["shuffle"] = True
    if kind == "RetinaNet" and (level_norms := level_norms_of_head(o)) != "own":
        model["head"]["level_norms"] = level_norms
    return model


def _custom_backbone(o: Objects) -> Backbone | None:
    """The backbone, or the network underneath its pyramid, if YAML settings do not describe it."""
    for path in ("model.backbone", "model.backbone.bottom_up"):
        kind = o(f"{path}.kind", "")
        if translate := translator(f"{path}.kind", kind):
            backbone: Backbone = translate(o, path)
            return backbone
        if kind == "RegNet":
            return Backbone(*regnet(o, path))
    return None
