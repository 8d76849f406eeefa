"""Evaluation of predictions against the ground truth.

Importing this package imports nothing else: result files are evaluated without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from det_core.evaluation.coco import CocoEvaluator
    from det_core.evaluation.coco_results import to_coco

__all__ = ["CocoEvaluator", "to_coco"]

_MODULES = {
    "CocoEvaluator": "coco",
    "to_coco": "coco_results",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
