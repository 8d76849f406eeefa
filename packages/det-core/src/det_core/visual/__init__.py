"""Pictures: boxes and segments on images, truth beside prediction, learning curves."""

from det_core.visual.curves import plot_curves
from det_core.visual.draw import colour, contact_sheet, draw, truth_beside_prediction
from det_core.visual.segments import draw_segments, in_words

__all__ = [
    "colour",
    "contact_sheet",
    "draw",
    "draw_segments",
    "in_words",
    "plot_curves",
    "truth_beside_prediction",
]
