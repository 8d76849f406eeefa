"""The step after an exported TensorMask: masks on grids of their own sizes, cut out of the tables of the program."""

from dataclasses import replace

from det_core.errors import StructureError
from det_core.structures import MaskGrids, Prediction

__all__ = ["GRIDS", "SIDES", "WINDOWS", "CutGrids"]

GRIDS, SIDES, WINDOWS = "det-tensormask/grids", "det-tensormask/sides", "det-tensormask/windows"
"""Extras: float32 (N, M, M) probabilities, of which the first rows and columns are used; how many, int64 (N,); and
where these lie in the pixels of the image, float32 (N, 4)."""


class CutGrids:
    """Makes masks of the tables."""

    def __call__(self, prediction: Prediction) -> Prediction:
        """The prediction with masks; StructureError where there are no tables."""
        found = prediction.detections
        if found is None or not {GRIDS, SIDES, WINDOWS} <= found.extras.keys():
            raise StructureError("prediction", "needs the tables of an exported TensorMask", fix="export it again")
        tables, windows = found.extras[GRIDS], found.extras[WINDOWS].float()
        sides = [min(max(side, 1), tables.shape[-1]) for side in found.extras[SIDES].tolist()]
        grids = tuple(table[:side, :side] for table, side in zip(tables, sides, strict=True))
        extras = {key: value for key, value in found.extras.items() if key not in (GRIDS, SIDES, WINDOWS)}
        masks = MaskGrids(grids=grids, windows=windows)
        return replace(prediction, detections=replace(found, masks=masks, extras=extras))
