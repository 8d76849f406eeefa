"""Judging predictions against the truth.

Importing this package imports nothing else: what reads files of results works without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from det_core.evaluation.coco import CocoEvaluator
    from det_core.evaluation.coco_results import from_coco, to_coco
    from det_core.evaluation.proposals import ProposalRecall
    from det_core.evaluation.results_file import ResultsFile

__all__ = ["CocoEvaluator", "ProposalRecall", "ResultsFile", "from_coco", "to_coco"]

_MODULES = {
    "CocoEvaluator": "coco",
    "ProposalRecall": "proposals",
    "ResultsFile": "results_file",
    "from_coco": "coco_results",
    "to_coco": "coco_results",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
