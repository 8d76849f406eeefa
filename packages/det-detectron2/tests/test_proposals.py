"""Published pickles of proposals become files that datasets read."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from det_core.data import CocoDataset
from det_core.errors import DataError, DetError
from det_datasets.wrappers import WithProposals
from det_detectron2.proposals import convert_proposals
from det_devkit import coco_files

BOXES = [np.array([[0, 0, 5, 5], [2, 3, 10, 5]], np.float32), np.zeros((0, 4), np.float32), np.ones((1, 4), np.float32)]
LOGITS = [np.array([0.5, 2.0], np.float32), np.zeros(0, np.float32), np.array([1.0], np.float32)]
PUBLISHED = {"ids": [13, 11, 12], "boxes": BOXES, "objectness_logits": LOGITS, "bbox_mode": 1}


def converted(folder: Path, content: object) -> WithProposals:
    (folder / "p.pkl").write_bytes(pickle.dumps(content))
    assert convert_proposals(folder / "p.pkl", folder / "p.npz") == 3
    return WithProposals(CocoDataset(*coco_files.write(folder, coco_files.content())), folder / "p.npz")


@pytest.mark.parametrize("second", [[2, 3, 10, 5], [2, 3, 12, 8]])
def test_both_published_forms_are_read(tmp_path: Path, second: list[int]) -> None:
    content = dict(PUBLISHED)
    if second == [2, 3, 10, 5]:  # Detectron's names, and corners
        content = {"indexes": [13, 11, 12], "boxes": BOXES, "scores": LOGITS}
    data = converted(tmp_path, content)
    proposals = data[2].proposals
    assert proposals is not None
    assert proposals.boxes.tolist() == [second, [0, 0, 5, 5]]
    assert proposals.logits.tolist() == [2.0, 0.5]
    assert [len(data[index].proposals or ()) for index in range(2)] == [0, 1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ids": [13, 11]}, "its lists differ in length; 2 ids, 3 of boxes"),
        ({"ids": [13, 11, 13]}, "holds image 13 twice"),
        ({"boxes": None}, "is no file of proposals; it has no list 'boxes'"),
        ({"bbox_mode": 4}, "has boxes in an unknown format; bbox_mode is 4"),
        ({"boxes": [BOXES[2], BOXES[1], BOXES[2]]}, "image 13: must have one logit per box; 2 for 1 boxes"),
        ({"boxes": [np.zeros(3, np.float32), *BOXES[1:]]}, "image 13: has boxes or logits that are no arrays"),
    ],
)
def test_invalid_files_are_reported(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        converted(tmp_path, PUBLISHED | change)
    with pytest.raises(DataError, match="is no file of proposals; it holds a list"):
        converted(tmp_path, [1])


class Trick:
    def __reduce__(self) -> object:
        return os.mkdir, ("made-by-a-pickle",)


def test_pickle_with_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DetError, match=r"p\.pkl"):
        converted(tmp_path, PUBLISHED | {"ids": Trick()})
    assert not Path("made-by-a-pickle").exists()
