"""Postprocessing of an exported TensorMask: cuts mask grids of different sizes out of the tables of the program."""

from dataclasses import replace

from det_core.errors import StructureError
from det_core.structures import MaskGrids, Prediction

__all__ = ["GRIDS", "SIDES", "WINDOWS", "CutGrids"]

GRIDS, SIDES, WINDOWS = "det-tensormask/grids", "det-tensormask/sides", "det-tensormask/windows"
"""Keys of the extras: probabilities float32 (N, M, M), of which the leading rows and columns are used; their number,
int64 (N,); and the windows in image coordinates, float32 (N, 4)."""


class CutGrids:
    """Cuts the mask grids out of the tables."""

    def __call__(self, prediction: Prediction) -> Prediction:
        """The prediction with masks; StructureError without tables."""
        detections = prediction.detections
        if detections is None or not {GRIDS, SIDES, WINDOWS} <= detections.extras.keys():
            raise StructureError("prediction", "needs the tables of an exported TensorMask", fix="export it again")
        tables, windows = detections.extras[GRIDS], detections.extras[WINDOWS].float()
        sides = [min(max(side, 1), tables.shape[-1]) for side in detections.extras[SIDES].tolist()]
        grids = tuple(table[:side, :side] for table, side in zip(tables, sides, strict=True))
        extras = {key: value for key, value in detections.extras.items() if key not in (GRIDS, SIDES, WINDOWS)}
        masks = MaskGrids(grids=grids, windows=windows)
        return replace(prediction, detections=replace(detections, masks=masks, extras=extras))
