"""Reads what older versions of DensePose dumped, without running anything in it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from det_core.errors import ConfigError, DataError
from numpy.typing import NDArray
from torch import Tensor

from det_densepose.results.compressed import decompress

__all__ = ["DumpEntry", "read_dump", "selected"]


class _Standin:
    """Takes the place of a class of the published code: it holds what was stored, and does nothing."""

    def __init__(self, *arguments: Any, **fields: Any) -> None:
        self.__dict__.update(fields)


# Where the published code has had its results.
_MODULE = "densepose.structures"
_CLASSES = (
    f"{_MODULE}.chart_result.DensePoseChartResult",
    f"{_MODULE}.chart_result.DensePoseChartResultWithConfidences",
    f"{_MODULE}.chart_result.DensePoseChartResultQuantized",
    f"{_MODULE}.chart_result.DensePoseChartResultCompressed",
    f"{_MODULE}.chart.DensePoseChartPredictorOutput",
    f"{_MODULE}.cse.DensePoseEmbeddingPredictorOutput",
    f"{_MODULE}.DensePoseResult",
    "densepose.data.structures.DensePoseResult",
)


@dataclass(frozen=True, eq=False)
class DumpEntry:
    """One image of a dump.

    Attributes:
        file_name: name of the image file as dumped.
        scores: score of each of the N objects.
        boxes: boxes of the objects, xyxy in pixels, float32 (N, 4).
        arrays: raw arrays of each object by name: `labels` (h, w), `uv` (2, h, w) and confidences of charts;
            `embedding` and `coarse_segm` of embeddings. Empty for unknown objects.
    """

    file_name: str
    scores: tuple[float, ...]
    boxes: NDArray[np.float32]
    arrays: tuple[dict[str, NDArray[Any]], ...]

    def save(self, folder: Path) -> Path:
        """Write NAME.npz into `folder`: `boxes`, `scores`, and `labels_k`, `uv_k` and so on of object k."""
        folder.mkdir(parents=True, exist_ok=True)
        every = {f"{name}_{k}": value for k, each in enumerate(self.arrays) for name, value in each.items()}
        file = folder / f"{Path(self.file_name).stem}.npz"
        np.savez_compressed(file, boxes=self.boxes, scores=np.array(self.scores), **every)  # type: ignore[arg-type]
        return file


def read_dump(path: Path) -> list[DumpEntry]:
    """The images of a dump.

    Raises:
        DataError: the file is not there, is none, or asks for more than numbers and the published classes.
    """
    where = str(path)
    allowed = []
    for name in _CLASSES:
        short = name.rpartition(".")[2]
        allowed.append((type(short, (_Standin,), {"__module__": name.rpartition(".")[0]}), name))
    try:
        data = path.read_bytes()
        with torch.serialization.safe_globals(allowed):  # type: ignore[arg-type]
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(where, "cannot be read", error.strerror or str(error), "check the path") from error
    except Exception as error:  # torch raises what its unpickler meets
        detail = str(error).partition("\n")[0][:200]
        raise DataError(where, "is no dump of DensePose that can be read safely", detail) from error
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise DataError(where, "is no dump of DensePose", f"it holds a {type(content).__name__}, not a list of images")
    return [_entry(each, where) for each in content]


def _entry(content: dict[str, Any], where: str) -> DumpEntry:
    boxes = content.get("pred_boxes_XYXY", torch.zeros(0, 4))
    scores = content.get("scores", torch.zeros(0))
    results = content.get("pred_densepose", [])
    if not isinstance(boxes, Tensor) or not isinstance(scores, Tensor):
        raise DataError(where, "has an image whose boxes or scores are no tensors")
    if isinstance(results, _Standin) and isinstance(getattr(results, "results", None), list):
        results = vars(results)["results"]  # the oldest form: a list of (shape, text)
    arrays: list[dict[str, NDArray[Any]]] = []
    if isinstance(results, _Standin):
        fields = _tensors(results)
        count = min((len(value) for value in fields.values()), default=0)
        arrays = [{name: value[row] for name, value in fields.items()} for row in range(count)]
    elif isinstance(results, list | tuple):
        arrays = [_arrays(each, where) for each in results]
    name = content.get("file_name", "")
    return DumpEntry(str(name), tuple(scores.tolist()), boxes.numpy().astype(np.float32), tuple(arrays))


def _arrays(result: Any, where: str) -> dict[str, NDArray[Any]]:
    text, shape = None, None
    if isinstance(result, list | tuple) and len(result) == 2 and isinstance(result[1], str):
        shape, text = tuple(result[0]), result[1]
    elif isinstance(getattr(result, "labels_uv_str", None), str):
        shape, text = tuple(result.shape_chw), result.labels_uv_str
    if text is not None:
        values = decompress(text, where, shape)
        return {"labels": values[0], "uv": (values[1:] / np.float32(255)).astype(np.float32)}
    arrays = _tensors(result)
    if "labels_uv_uint8" in arrays:
        values = arrays.pop("labels_uv_uint8")
        arrays |= {"labels": values[0], "uv": (values[1:] / np.float32(255)).astype(np.float32)}
    return arrays


def _tensors(result: Any) -> dict[str, NDArray[Any]]:
    fields = getattr(result, "__dict__", {})
    return {name: value.detach().numpy() for name, value in fields.items() if isinstance(value, Tensor)}


def selected(entries: Sequence[DumpEntry], selectors: Sequence[str]) -> list[DumpEntry]:
    """The entries with the objects that all selectors want; entries without any are left out.

    Selectors are `field=value` or `field:type=value`, several with commas; a range is `field=low-high`. Fields are
    `file_name` and `score`.

    Raises:
        ConfigError: a selector cannot be read.
    """
    selection = list(entries)
    for text in (part for each in selectors for part in each.split(",")):
        left, equals, value = text.partition("=")
        field = left.partition(":")[0].strip()
        if not equals or field not in ("file_name", "score", "scores"):
            fix = "write file_name=a.jpg, score:float=0.9-1 ..."
            raise ConfigError("--select", f"{text!r} is no selector", fix=fix)
        if field == "file_name":
            selection = [each for each in selection if each.file_name == value or Path(each.file_name).name == value]
            continue
        low, dash, high = value.partition("-")
        try:
            bounds = float(low), float(high if dash else low)
        except ValueError as error:
            raise ConfigError("--select", f"{text!r} has no number or range") from error
        selection = [_with_scores(each, bounds) for each in selection]
        selection = [each for each in selection if each.scores]
    return selection


def _with_scores(entry: DumpEntry, bounds: tuple[float, float]) -> DumpEntry:
    rows = [row for row, score in enumerate(entry.scores) if bounds[0] <= score <= bounds[1]]
    arrays = tuple(entry.arrays[row] for row in rows if row < len(entry.arrays))
    return DumpEntry(entry.file_name, tuple(entry.scores[row] for row in rows), entry.boxes[rows], arrays)
