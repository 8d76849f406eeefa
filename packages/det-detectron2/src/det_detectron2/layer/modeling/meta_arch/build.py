"""Models by name, as `detectron2.modeling.meta_arch.build`."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from det_detectron2.importer.settings import UnsupportedError
from det_detectron2.layer.utils.registry import Registry

__all__ = ["META_ARCH_REGISTRY", "build_model", "foreign_parts"]

META_ARCH_REGISTRY = Registry("META_ARCH")
"""Modules that are made of a `cfg`."""


def build_model(cfg: Any) -> nn.Module:
    """The model of a `cfg`, on its device, with random weights.

    Where all of its parts are Detectron2's, it is det's own model behind Detectron2's interface. Where the program
    registered a part, it is built from the classes of this package, as Detectron2 does.

    Raises:
        UnsupportedError: it has a part that det does not have.
    """
    from det_detectron2.layer.modeling.model import build_det_model

    foreign = dict(foreign_parts(cfg))
    name = cfg.MODEL.META_ARCHITECTURE
    if not foreign:
        return build_det_model(cfg)
    if name not in META_ARCH_REGISTRY:
        results = ", ".join(f"{setting} {value}" for setting, value in foreign.items())
        fix = "register a META_ARCHITECTURE of your own, or use GeneralizedRCNN, ProposalNetwork or RetinaNet"
        raise UnsupportedError(
            f"MODEL.META_ARCHITECTURE {name}", f"takes no parts of the program, but {results}", fix=fix
        )
    model: nn.Module = META_ARCH_REGISTRY.get(name)(cfg)
    return model.to(cfg.MODEL.DEVICE)


def foreign_parts(cfg: Any) -> Iterator[tuple[str, str]]:
    """The settings that name a part which the program registered, and its name."""
    from det_detectron2.layer import modeling

    parts = {
        "META_ARCHITECTURE": META_ARCH_REGISTRY,
        "BACKBONE.NAME": modeling.BACKBONE_REGISTRY,
        "PROPOSAL_GENERATOR.NAME": modeling.PROPOSAL_GENERATOR_REGISTRY,
        "RPN.HEAD_NAME": modeling.RPN_HEAD_REGISTRY,
        "ANCHOR_GENERATOR.NAME": modeling.ANCHOR_GENERATOR_REGISTRY,
        "ROI_HEADS.NAME": modeling.ROI_HEADS_REGISTRY,
        "ROI_BOX_HEAD.NAME": modeling.ROI_BOX_HEAD_REGISTRY,
        "ROI_MASK_HEAD.NAME": modeling.ROI_MASK_HEAD_REGISTRY,
        "ROI_KEYPOINT_HEAD.NAME": modeling.ROI_KEYPOINT_HEAD_REGISTRY,
    }
    for setting, registry in parts.items():
        node = cfg.MODEL
        for part in setting.split("."):
            node = node[part]
        if node in registry and not registry.get(node).__module__.startswith("det_detectron2."):
            yield f"MODEL.{setting}", node
