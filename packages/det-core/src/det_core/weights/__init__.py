"""Weight files: read without running their code, and loaded so that nothing is left out silently."""

from det_core.weights.loading import InitialWeights, LoadReport, load_into
from det_core.weights.reading import read

__all__ = ["InitialWeights", "LoadReport", "load_into", "read"]
