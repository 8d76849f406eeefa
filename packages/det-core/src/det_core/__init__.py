"""det-core: detection and segmentation as an ecosystem of plugins.

Importing this package imports nothing else: the parts that need torch load when they are used. Start with
`det_core.recipes.load(NAME)` for a model from a recipe, or `det_core.predict.detector.Detector.load(FILE)` to predict.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from det_core.predict.detector import Detector

__all__ = ["Detector"]


def __getattr__(name: str) -> Any:
    if name == "Detector":
        from det_core.predict.detector import Detector

        return Detector
    raise AttributeError(f"module 'det_core' has no attribute {name!r}")
