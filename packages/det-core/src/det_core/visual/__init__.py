"""Pictures: boxes and segments on images, and learning curves."""

from det_core.visual.curves import plot_curves
from det_core.visual.draw import colour, draw
from det_core.visual.segments import draw_segments, in_words

__all__ = [
    "colour",
    "draw",
    "draw_segments",
    "in_words",
    "plot_curves",
]
