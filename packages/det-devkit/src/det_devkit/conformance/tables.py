"""Which checks each kind of component has to pass, in order."""

from collections.abc import Mapping

from det_devkit.conformance import backbones, models
from det_devkit.conformance.components import COMPONENT
from det_devkit.conformance.datasets import DATASET
from det_devkit.conformance.evaluators import EVALUATOR
from det_devkit.conformance.exporters import EXPORTER
from det_devkit.conformance.modules import LEARNING, RUNNING, contract, nothing_there
from det_devkit.conformance.package import PACKAGE
from det_devkit.conformance.recipes import RECIPE
from det_devkit.conformance.report import Check

__all__ = ["CHECKS"]

CHECKS: Mapping[str, tuple[Check, ...]] = {
    "package": PACKAGE,
    "backbones": (*COMPONENT, contract, *backbones.OWN, *RUNNING, *LEARNING),
    "heads": (*COMPONENT, contract, nothing_there, *RUNNING, *LEARNING),
    "models": (*COMPONENT, contract, *models.OWN, nothing_there, *RUNNING, *LEARNING),
    "datasets": (*COMPONENT, *DATASET),
    "evaluators": (*COMPONENT, *EVALUATOR),
    "exporters": (*COMPONENT, *EXPORTER),
    "recipes": RECIPE,
}
