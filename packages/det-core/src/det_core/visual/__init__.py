"""Pictures: boxes and segments on images."""

from det_core.visual.draw import colour, draw
from det_core.visual.segments import draw_segments, in_words

__all__ = [
    "colour",
    "draw",
    "draw_segments",
    "in_words",
]
