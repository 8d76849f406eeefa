"""Which checks each kind of component has to pass, in order."""

from collections.abc import Mapping

from det_core.testing import backbones, models
from det_core.testing.components import COMPONENT
from det_core.testing.datasets import DATASET
from det_core.testing.evaluators import EVALUATOR
from det_core.testing.exporters import EXPORTER
from det_core.testing.modules import LEARNING, RUNNING, contract, nothing_there
from det_core.testing.package import PACKAGE
from det_core.testing.recipes import RECIPE
from det_core.testing.report import Check

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
