"""Which checks each kind of component has to pass, in order."""

from collections.abc import Mapping

from det_core.testing import backbones
from det_core.testing.components import COMPONENT
from det_core.testing.modules import LEARNING, RUNNING, contract
from det_core.testing.package import PACKAGE
from det_core.testing.recipes import RECIPE
from det_core.testing.report import Check

__all__ = ["CHECKS"]

CHECKS: Mapping[str, tuple[Check, ...]] = {
    "package": PACKAGE,
    "backbones": (*COMPONENT, contract, *backbones.OWN, *RUNNING, *LEARNING),
    "heads": COMPONENT,
    "models": COMPONENT,
    "datasets": COMPONENT,
    "evaluators": COMPONENT,
    "exporters": COMPONENT,
    "recipes": RECIPE,
}
