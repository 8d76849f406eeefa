"""Prediction on overlapping tiles of large images, whose objects are too small once the whole image is resized."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from det_core.errors import ConfigError
from det_core.predict import Detector, Result
from det_core.predict.detector import IMAGES, ImageLike, to_sample
from det_core.structures import Detections, MaskGrids, Prediction, Sample, Size
from torch import Tensor

from det_inspect.predictions.merging import Tile, merge

__all__ = ["TiledDetector", "tile_windows", "tiled"]


class TiledDetector:
    """Predicts tiles of each image at their full resolution, and merges their detections.

    An object that two tiles show is kept once: of those that lie whole within a tile the one with the highest score;
    where each tile shows a part alone, the union of the boxes and of the masks.

    Args:
        detector: predicts a tile as it would an image; detections are all it has to make.
        tile: the side of a tile in pixels of the image.
        overlap: share of a tile's side that its neighbour shows too, in [0, 0.9]; objects up to this size are whole in
            some tile.

    Raises:
        ConfigError: a tile of no pixels, or an overlap out of range.
    """

    def __init__(self, detector: Detector, tile: int = 800, overlap: float = 0.2) -> None:
        if tile < 1 or not 0 <= overlap <= 0.9:
            raise ConfigError("TiledDetector", "needs tile >= 1 and 0 <= overlap <= 0.9", f"got {tile} and {overlap}")
        self.detector, self.tile, self.overlap = detector, tile, overlap

    def __call__(
        self, images: ImageLike | Iterable[ImageLike], threshold: float | None = None, batch_size: int | None = None
    ) -> Result | list[Result]:
        """The result of one image, or a list of those of several; arguments as of `Detector.__call__`.

        Detections below the threshold are left out before tiles are merged.
        """
        if isinstance(images, IMAGES):
            return next(self.stream([images], threshold, batch_size))
        return list(self.stream(images, threshold, batch_size))

    def stream(
        self, images: Iterable[ImageLike], threshold: float | None = None, batch_size: int | None = None
    ) -> Iterator[Result]:
        """The results one after the other, with one image in memory."""
        for number, image in enumerate(images):
            yield self._predicted(to_sample(image, f"images[{number}]"), threshold, batch_size)

    def _predicted(self, sample: Sample, threshold: float | None, batch_size: int | None) -> Result:
        windows = tile_windows(sample.size, self.tile, self.overlap)
        crops = (sample.image[:, top:bottom, left:right].contiguous() for left, top, right, bottom in windows)
        tiles, best = [], []
        for window, result in zip(windows, self.detector.stream(crops, threshold, batch_size), strict=True):
            if result.prediction.detections is None:
                fix = "predict without tiles"
                raise ConfigError("TiledDetector", "merges detections, which this model has none of", fix=fix)
            tiles.append(Tile(window, _moved(result.detections, window, sample.size)))
            best += [] if result.best_score is None else [result.best_score]
        detections = merge(tiles, sample.size)
        score = max(best) if best and not len(detections) else None
        classes, ids = self.detector.classes, self.detector.category_ids
        return Result(sample.image, Prediction(detections=detections), classes, ids, sample.path, score)


def tiled(detector: Detector, tile: int, overlap: float) -> TiledDetector:
    """The detector of `det predict --tile`."""
    return TiledDetector(detector, tile, overlap)


def tile_windows(size: Size, tile: int, overlap: float) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of each tile, row by row: all of the same size, which together cover the image.

    The overlap is at least the one asked for; an image smaller than a tile is one tile, of its size.
    """
    rows, columns = (_starts(length, tile, overlap) for length in size)
    height, width = (min(length, tile) for length in size)
    return [(left, top, left + width, top + height) for top in rows for left in columns]


def _starts(length: int, tile: int, overlap: float) -> Sequence[int]:
    if length <= tile:
        return (0,)
    count = -(-(length - tile) // max(1, round(tile * (1 - overlap)))) + 1
    return [round(number * (length - tile) / (count - 1)) for number in range(count)]


def _moved(detections: Detections, window: Sequence[int], size: Size) -> Detections:
    """Detections of a tile in the pixels of its image; masks become grids, whatever they were."""
    left, top = window[:2]
    shift = detections.boxes.new_tensor([left, top])
    places = 1 if detections.boxes.shape[1] == 5 else 2
    boxes = detections.boxes.clone()
    boxes[:, : 2 * places] += shift.repeat(places)
    keypoints = detections.keypoints
    if keypoints is not None:
        keypoints = keypoints.clone()
        keypoints[..., :2] += shift
    masks = detections.masks
    if masks is not None:
        masks = _as_grids(masks, detections.boxes)
        masks = MaskGrids(grids=masks.grids, windows=masks.windows + shift.repeat(2))
    return replace(detections, boxes=boxes, size=size, masks=masks, keypoints=keypoints)


def _as_grids(masks: Tensor | MaskGrids, boxes: Tensor) -> MaskGrids:
    if isinstance(masks, MaskGrids):
        return masks
    if masks.dtype != torch.bool:
        return MaskGrids(grids=tuple(masks), windows=boxes)
    # Bitmaps of the whole tile: as they are, within the window of the tile.
    height, width = masks.shape[1:]
    windows = boxes.new_tensor([0, 0, width, height]).expand(len(masks), 4)
    return MaskGrids(grids=tuple(masks.float()), windows=windows)
