"""The checks of each kind of component, in order, and its role."""

from collections.abc import Callable, Mapping
from typing import Any

from det_devkit.conformance import backbones, models
from det_devkit.conformance.components import COMPONENT
from det_devkit.conformance.datasets import DATASET
from det_devkit.conformance.evaluators import EVALUATOR
from det_devkit.conformance.exporters import EXPORTER
from det_devkit.conformance.head_roles import head_role
from det_devkit.conformance.modules import LEARNING, RUNNING, contract, nothing_there
from det_devkit.conformance.package import PACKAGE
from det_devkit.conformance.recipes import RECIPE
from det_devkit.conformance.report import Check
from det_devkit.conformance.roles import Plain, Role
from det_devkit.conformance.synthetic import CLASSES

__all__ = ["CHECKS", "ROLES"]

CHECKS: Mapping[str, tuple[Check, ...]] = {
    "package": PACKAGE,
    "backbones": (*COMPONENT, contract, *backbones.CHECKS, *RUNNING, *LEARNING),
    "heads": (*COMPONENT, contract, nothing_there, *RUNNING, *LEARNING),
    "models": (*COMPONENT, contract, *models.CHECKS, nothing_there, *RUNNING, *LEARNING),
    "datasets": (*COMPONENT, *DATASET),
    "evaluators": (*COMPONENT, *EVALUATOR),
    "exporters": (*COMPONENT, *EXPORTER),
    "recipes": RECIPE,
}

ROLES: Mapping[str, Callable[[Callable[..., Any], Mapping[str, Any]], Role]] = {
    "backbones": lambda target, arguments: backbones.BackboneRole(),
    "heads": head_role,
    "models": lambda target, arguments: models.ModelRole(),
    "datasets": lambda target, arguments: Plain({}),
    "evaluators": lambda target, arguments: Plain({"classes": CLASSES}),
    "exporters": lambda target, arguments: Plain({}),
}
