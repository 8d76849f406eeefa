"""Small detectors that learn from large ones."""

from det_mobile.distillation.losses import Imitation, Logits, PseudoBoxes
from det_mobile.distillation.model import AdapterState, Distilled
from det_mobile.distillation.teacher import Teacher

__all__ = ["AdapterState", "Distilled", "Imitation", "Logits", "PseudoBoxes", "Teacher"]
