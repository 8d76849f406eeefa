"""Pictures: boxes and segments on images."""

from det_core.visual.draw import colour, draw
from det_core.visual.segments import in_words

__all__ = [
    "colour",
    "draw",
    "in_words",
]
