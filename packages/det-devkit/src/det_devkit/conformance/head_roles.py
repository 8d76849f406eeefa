"""Which contract a head keeps."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from det_devkit.conformance.box_heads import BoxHeadRole, BoxPredictorRole
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

__all__ = ["head_role"]


def head_role(target: Callable[..., Any], told: Mapping[str, Any]) -> HeadRole:
    """The role that the methods of what `target` makes speak for."""
    made = class_behind(target)
    if made is None:
        return UnknownHead(told)
    methods = {name for name in ("losses", "predict", "decode", "detect") if callable(getattr(made, name, None))}
    if "losses" in methods:
        if "detect" in methods:
            return BoxPredictorRole(told)
        if "decode" in methods:
            return DenseHeadRole(told)
        if "predict" in methods:
            return (ROIHeadsRole if _arguments(made, "predict") > 2 else RegionHeadRole)(told)
    if callable(getattr(made, "forward", None)) and _arguments(made, "forward") > 1:
        return ProposalGeneratorRole(told)
    if not methods:
        return BoxHeadRole(told)
    return SemanticHeadRole(told) if methods == {"losses"} and _arguments(made, "losses") == 2 else UnknownHead(told)


def _arguments(made: type, method: str) -> int:
    """How many arguments a method takes beside self."""
    return len(inspect.signature(getattr(made, method)).parameters) - 1
