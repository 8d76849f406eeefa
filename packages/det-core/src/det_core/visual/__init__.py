"""Pictures: boxes and segments on images."""

from det_core.visual.draw import class_color, draw
from det_core.visual.segments import in_words

__all__ = [
    "class_color",
    "draw",
    "in_words",
]
