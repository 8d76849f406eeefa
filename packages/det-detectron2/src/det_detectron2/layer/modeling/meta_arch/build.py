"""Models by name, as `detectron2.modeling.meta_arch.build`."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from det_detectron2.layer.modeling.anchor_generator import ANCHOR_GENERATOR_REGISTRY
from det_detectron2.layer.modeling.backbone import BACKBONE_REGISTRY, FPN, ResNet
from det_detectron2.layer.modeling.facade import LayerRCNN
from det_detectron2.layer.modeling.meta_arch.registry import META_ARCH_REGISTRY
from det_detectron2.layer.modeling.model import LayerModel, flat_settings
from det_detectron2.layer.modeling.proposal_generator import PROPOSAL_GENERATOR_REGISTRY, RPN_HEAD_REGISTRY
from det_detectron2.layer.modeling.roi_heads import (
    ROI_BOX_HEAD_REGISTRY,
    ROI_HEADS_REGISTRY,
    ROI_KEYPOINT_HEAD_REGISTRY,
    ROI_MASK_HEAD_REGISTRY,
)

__all__ = ["META_ARCH_REGISTRY", "build_model", "foreign_parts"]


def build_model(cfg: Any) -> nn.Module:
    """The model of a `cfg`, on its device, with random weights.

    Where all of its parts are Detectron2's, it is det's own model behind Detectron2's interface. Where the program
    registered a part, it is built from the classes of this package, as Detectron2 does.

    Raises:
        UnsupportedError: it has a part that det does not have.
    """
    foreign = dict(foreign_parts(cfg))
    name = cfg.MODEL.META_ARCHITECTURE
    if not foreign:
        return _det_model(cfg)
    if name not in META_ARCH_REGISTRY:
        from det_detectron2.importer.settings import UnsupportedError

        results = ", ".join(f"{setting} {value}" for setting, value in foreign.items())
        fix = "register a META_ARCHITECTURE of your own, or use GeneralizedRCNN, ProposalNetwork or RetinaNet"
        raise UnsupportedError(
            f"MODEL.META_ARCHITECTURE {name}", f"takes no parts of the program, but {results}", fix=fix
        )
    model: nn.Module = META_ARCH_REGISTRY.get(name)(cfg)
    return model.to(cfg.MODEL.DEVICE)


def foreign_parts(cfg: Any) -> Iterator[tuple[str, str]]:
    """The settings that name a part which the program registered, and its name."""
    parts = {
        "META_ARCHITECTURE": META_ARCH_REGISTRY,
        "BACKBONE.NAME": BACKBONE_REGISTRY,
        "PROPOSAL_GENERATOR.NAME": PROPOSAL_GENERATOR_REGISTRY,
        "RPN.HEAD_NAME": RPN_HEAD_REGISTRY,
        "ANCHOR_GENERATOR.NAME": ANCHOR_GENERATOR_REGISTRY,
        "ROI_HEADS.NAME": ROI_HEADS_REGISTRY,
        "ROI_BOX_HEAD.NAME": ROI_BOX_HEAD_REGISTRY,
        "ROI_MASK_HEAD.NAME": ROI_MASK_HEAD_REGISTRY,
        "ROI_KEYPOINT_HEAD.NAME": ROI_KEYPOINT_HEAD_REGISTRY,
    }
    for setting, registry in parts.items():
        node = cfg.MODEL
        for part in setting.split("."):
            node = node[part]
        if node in registry and not registry.get(node).__module__.startswith("det_detectron2."):
            yield f"MODEL.{setting}", node


def _det_model(cfg: Any) -> LayerModel:
    """det's model of a `cfg`, on its device, with random weights."""
    from det_core import backbones, recipes
    from det_core.models.cpu_acceleration import accelerate
    from det_core.models.detectors.rcnn import RCNN

    from det_detectron2.importer.files import recipe_from_settings

    # Programs ask whether a backbone is an FPN or a ResNet.
    FPN.register(backbones.FPN)
    ResNet.register(backbones.ResNet)
    settings = flat_settings(cfg)
    model = recipes.recipe_from_tree(recipe_from_settings(settings).tree).build_model()
    model = accelerate(model.to(settings.get("MODEL.DEVICE", "cpu")))
    kind: type[LayerModel] = LayerRCNN if isinstance(model, RCNN) else LayerModel
    return kind(model, settings.get("INPUT.FORMAT", "BGR"))
