"""Which contract a head declares, and the role that checks it."""

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


def head_role(target: Callable[..., Any], told: Mapping[str, Any]) -> HeadRole:
    """The role of the contract that a head declares, see `declared_contract`."""
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
    return UnknownHead(told, declared) if role is None else role(told)


def declared_contract(target: Callable[..., Any]) -> str:
    """The name of the contract that a head declares; "" where it declares none.

    A class declares it by the attribute `contract`, or by deriving from the Protocol; a function returns, by its
    annotation, such a class or the Protocol itself.
    """
    made = class_behind(target)
    if made is None:
        return ""
    if isinstance(named := getattr(made, "contract", None), str):
        return named
    own = [base.__name__ for base in made.__mro__ if base.__module__ == contracts.__name__]
    return own[0] if own else ""
