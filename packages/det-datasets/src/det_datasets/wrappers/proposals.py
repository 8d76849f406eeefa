"""Precomputed proposals from a file, for models that take them as input (Fast R-CNN)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from det_core.contracts import Dataset, Indexed
from det_core.data.loading.samplers import require_indexed
from det_core.errors import ConfigError, DataError, StructureError
from det_core.structures import Prediction, Proposals, Sample, Size
from det_safeload.regular import open_regular
from numpy.typing import NDArray

__all__ = ["ProposalWriter", "WithProposals", "write_proposals"]

_ARRAYS = ("ids", "counts", "boxes", "logits")
# Attributes that are copied from the wrapped dataset, beside those of its contract.
_ATTRIBUTES = (
    "annotations",
    "category_ids",
    "flip_pairs",
    "keypoint_names",
    "num_objects",
    "num_learnable",
    "path",
    "skipped",
    "left_out",
    "id_of",
    "sampler",
)


class WithProposals:
    """A dataset with the best precomputed proposals of each image.

    The file is an .npz as written by `write_proposals` and `ProposalWriter`, in coordinates of the stored images;
    `det_detectron2.proposals.convert_proposals` (det-detectron2) converts a published pickle.

    Args:
        dataset: images; the file has the same image ids.
        file: .npz file of the proposals.
        top: maximum number of proposals per image, by score; published models use 2000 for training and 1000 for
            testing.

    Raises:
        DataError: the file is invalid, or, on reading, has no entry for an image.
    """

    def __init__(self, dataset: Dataset, file: Path, top: int = 1000) -> None:
        if top < 1:
            raise ConfigError("WithProposals.top", "must be at least 1", f"got {top}")
        self.dataset, self.file, self.top = dataset, Path(file), top
        self.classes, self.evaluators = dataset.classes, dataset.evaluators
        for name in _ATTRIBUTES:
            if hasattr(dataset, name):
                setattr(self, name, getattr(dataset, name))
        self._ids, counts, self._boxes, self._logits = _read(self.file)
        self._first = np.concatenate([[0], np.cumsum(counts)])
        self._by_id = np.argsort(self._ids, kind="stable")

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        """The sample with its proposals, best first."""
        sample = self.dataset[index]
        row = self._row(sample.id)
        rows = slice(int(self._first[row]), int(self._first[row + 1]))
        best = np.argsort(-self._logits[rows], kind="stable")[: self.top]
        boxes, logits = self._boxes[rows][best], self._logits[rows][best]
        proposals = Proposals(boxes=torch.from_numpy(boxes), logits=torch.from_numpy(logits))
        return replace(sample, proposals=proposals)

    def size_of(self, index: int) -> Size:
        """(height, width) of the stored image."""
        return self._indexed().size_of(index)

    def labels_of(self, index: int) -> Sequence[int]:
        """Label of each object."""
        return self._indexed().labels_of(index)

    def _indexed(self) -> Indexed:
        return require_indexed(self.dataset, type(self).__name__)

    def _row(self, image_id: int | str) -> int:
        if isinstance(image_id, str) == (self._ids.dtype.kind == "U"):
            place = int(np.searchsorted(self._ids, image_id, sorter=self._by_id))
            if place < len(self._ids) and self._ids[self._by_id[place]] == image_id:
                return int(self._by_id[place])
        fix = "write the file for this dataset: det_datasets.wrappers:ProposalWriter is an evaluator that does"
        raise DataError(str(self.file), f"holds no proposals for image {image_id!r}", fix=fix)


class ProposalWriter:
    """An evaluator without metrics, which writes the proposals of each image to a file for `WithProposals`.

    Args:
        classes: class names, by label; not used.
        file: .npz file, written by `result`.
    """

    def __init__(self, classes: Sequence[str], file: Path) -> None:
        self.classes, self.file = tuple(classes), _npz(Path(file))
        self._proposals: dict[int | str, Proposals] = {}

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add the proposals of one image; StructureError if the model makes none."""
        if prediction.proposals is None:
            fix = "this evaluator is for proposal networks"
            raise StructureError(f"image {sample.id}", "its prediction has no proposals", fix=fix)
        if sample.id in self._proposals:
            raise DataError(f"image {sample.id}", "has an id that another image has too", fix="make ids unique")
        self._proposals[sample.id] = prediction.proposals.to("cpu")

    def state(self) -> dict[int | str, Proposals]:
        """The proposals added so far."""
        return dict(self._proposals)

    def merge(self, states: Sequence[Mapping[int | str, Proposals]]) -> None:
        """Add the images of all processes."""
        self._proposals = {image_id: each for state in states for image_id, each in state.items()}

    def result(self) -> dict[str, float]:
        """Write the file; {"proposals/per_image": mean number per image}."""
        write_proposals(self.file, self._proposals)
        counts = [len(each) for each in self._proposals.values()]
        return {"proposals/per_image": sum(counts) / len(counts)} if counts else {}


def write_proposals(file: Path, proposals: Mapping[int | str, Proposals]) -> None:
    """Write the proposals of each image, by its id, to an .npz file.

    Its arrays: `ids` (M,) int64 or text, `counts` int64 (M,), and concatenated over all images `boxes` float32 (P, 4),
    in coordinates of the stored images, and `logits` float32 (P,).
    """
    on_cpu = [each.to("cpu") for each in proposals.values()]
    if any(each.boxes.shape[1] != 4 for each in on_cpu):
        raise StructureError(str(file), "rotated proposals cannot be written yet")
    if len({isinstance(image_id, str) for image_id in proposals}) > 1:
        raise DataError(str(file), "the ids of the images are partly numbers, partly texts", fix="use one kind")
    text = any(isinstance(image_id, str) for image_id in proposals)
    arrays = {
        "ids": np.array(list(proposals), np.str_ if text else np.int64),
        "counts": np.array([len(each) for each in on_cpu], np.int64),
        "boxes": torch.cat([torch.zeros(0, 4), *(each.boxes.detach().float() for each in on_cpu)]).numpy(),
        "logits": torch.cat([torch.zeros(0), *(each.logits.detach().float() for each in on_cpu)]).numpy(),
    }
    target = _npz(file)
    written = target.with_name(f"{target.name}.part")
    try:
        with written.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        written.replace(target)
    except OSError as error:
        raise DataError(str(file), "the proposals cannot be written", error.strerror or str(error)) from error


def _npz(file: Path) -> Path:
    if file.suffix == ".pkl":
        fix = "turn it into an .npz once: det_detectron2.proposals.convert_proposals(PKL, NPZ)"
        raise ConfigError(str(file), "pickles of proposals are not read directly", fix=fix)
    if file.suffix != ".npz":
        raise ConfigError(str(file), "a file of proposals ends in .npz")
    return file


def _read(file: Path) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """ids, counts, boxes and logits, validated."""
    archive = _npz(file)
    try:
        with open_regular(archive) as stream, np.load(stream, allow_pickle=False) as content:
            if missing := [name for name in _ARRAYS if name not in content]:
                raise DataError(str(file), f"is no file of proposals: it has no array '{missing[0]}'")
            ids, counts, boxes, logits = (content[name] for name in _ARRAYS)
    except FileNotFoundError as error:
        fix = "write it with det_datasets.wrappers:ProposalWriter and a proposal network"
        raise DataError(str(file), "there is no such file of proposals", fix=fix) from error
    except DataError:
        raise
    # NumPy may raise any exception on a broken archive: ValueError, zipfile.BadZipFile, EOFError, KeyError ...
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise DataError(str(file), "cannot be read as a file of proposals", found) from error
    sound = ids.ndim == counts.ndim == logits.ndim == 1 and boxes.ndim == 2 and boxes.shape[1:] == (4,)
    sound = sound and ids.dtype.kind in "iU" and counts.dtype.kind == "i" and len(ids) == len(counts)
    if not sound or (counts < 0).any() or not counts.sum() == len(boxes) == len(logits):
        shapes = {name: each.shape for name, each in zip(_ARRAYS, (ids, counts, boxes, logits), strict=True)}
        raise DataError(str(file), "its arrays do not belong together", f"their shapes are {shapes}")
    if len(np.unique(ids)) != len(ids):
        raise DataError(str(file), "holds an image twice")
    boxes, logits = boxes.astype(np.float32), logits.astype(np.float32)
    if not (np.isfinite(boxes).all() and np.isfinite(logits).all()):
        raise DataError(str(file), "holds numbers that are not finite")
    return ids, counts.astype(np.int64), boxes, logits
