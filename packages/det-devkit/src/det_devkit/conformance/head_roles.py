"""The declared contract of a head, and the role that checks it."""

from collections.abc import Callable, Mapping
from typing import Any

from det_core import contracts

from det_devkit.conformance.box_heads import BoxHeadRole, BoxPredictorRole
from det_devkit.conformance.head_parts import AnchorGeneratorRole, PoolerRole, PreprocessRole, RPNHeadRole
from det_devkit.conformance.heads import (
    DenseHeadRole,
    HeadRole,
    ProposalGeneratorRole,
    RegionHeadRole,
    ROIHeadsRole,
    SemanticHeadRole,
    UnknownHead,
)
from det_devkit.conformance.roles import class_behind

__all__ = ["declared_contract", "head_role"]


def head_role(target: Callable[..., Any], config: Mapping[str, Any]) -> HeadRole:
    """The role of the declared contract of a head, see `declared_contract`."""
    declared = declared_contract(target)
    roles: dict[str, type[HeadRole]] = {
        "AnchorGenerator": AnchorGeneratorRole,
        "BoxHead": BoxHeadRole,
        "BoxPredictor": BoxPredictorRole,
        "CascadeBoxPredictor": BoxPredictorRole,
        "DenseHead": DenseHeadRole,
        "Pooler": PoolerRole,
        "PooledRegionHead": RegionHeadRole,
        "Preprocess": PreprocessRole,
        "ProposalGenerator": ProposalGeneratorRole,
        "RPNHead": RPNHeadRole,
        "ROIHeads": ROIHeadsRole,
        "RegionHead": RegionHeadRole,
        "SemanticHead": SemanticHeadRole,
    }
    role = roles.get(declared)
    return UnknownHead(config, declared) if role is None else role(config)


def declared_contract(target: Callable[..., Any]) -> str:
    """Name of the declared contract of a head; "" for none.

    A class declares it by the attribute `contract`, or by deriving from the Protocol; a function by its return
    annotation, such a class or the Protocol itself.
    """
    cls = class_behind(target)
    if cls is None:
        return ""
    if isinstance(contract := getattr(cls, "contract", None), str):
        return contract
    protocols = [base.__name__ for base in cls.__mro__ if base.__module__.startswith(contracts.__name__)]
    return protocols[0] if protocols else ""
