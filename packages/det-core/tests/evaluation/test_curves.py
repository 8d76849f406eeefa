"""curves: hotcoco gives the arrays of pycocotools to the last bit, and where it does not it is not used."""

import sys
import warnings
from typing import Any

import numpy as np
import pytest
from det_core.errors import DetWarning
from det_core.evaluation import curves as module
from det_core.evaluation.curves import COCO_SIGMAS, IouType, Table, curves
from det_core.evaluation.figures import LIMITS
from pycocotools import mask as coco_mask

IOU_TYPES: tuple[IouType, ...] = ("bbox", "segm", "keypoints")
SIDE = 300


def shape(box: np.ndarray, iou_type: IouType, crowd: bool, rng: np.random.Generator) -> dict[str, Any]:
    x, y, w, h = box.tolist()
    own: dict[str, Any] = {"bbox": [x, y, w, h], "area": w * h * float(rng.choice([0.5, 1.0]))}
    if iou_type == "segm":
        ring = [x, y, x + w, y, x + w, y + h, x, y + h]
        rle = coco_mask.merge(coco_mask.frPyObjects([ring], SIDE, SIDE))
        own["segmentation"] = rle if crowd or rng.random() < 0.5 else [ring]
    if iou_type == "keypoints":
        points = rng.random((17, 3)) * [w, h, 3] + np.array([x, y, 0])
        points[:, 2] = points[:, 2] // 1 * (rng.random() < 0.9)  # one in ten has no keypoint that is labelled
        own |= {"keypoints": points.ravel().tolist(), "num_keypoints": int((points[:, 2] > 0).sum())}
    return own


def made(seed: int, iou_type: IouType) -> tuple[Table, Table]:
    """Up to ten images, some empty, with crowds, boxes without width, equal scores, more than 100 detections."""
    rng = np.random.default_rng(seed)
    images = [{"id": int(number), "height": SIDE, "width": SIDE} for number in rng.permutation(1000)[: seed % 11]]
    categories = [{"id": int(number), "name": str(number)} for number in rng.permutation(90)[: 1 + seed % 4]]
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image in images:
        for _ in range(int(rng.integers(0, 8))):
            box = rng.random(4) * [150, 150, 140, 140] * (1, 1, rng.random() > 0.05, 1)
            place = {"image_id": image["id"], "category_id": int(rng.choice([each["id"] for each in categories]))}
            crowd = bool(rng.random() < 0.2)
            truth.append({"id": len(truth) + 1, **place, "iscrowd": int(crowd), **shape(box, iou_type, crowd, rng)})
            for _ in range(120 if rng.random() < 0.03 else int(rng.integers(0, 4))):
                moved = np.clip(box + rng.normal(0, 5, 4), 0, None)
                own = shape(moved, iou_type, False, rng)
                if iou_type == "keypoints":
                    own["keypoints"] = (np.array(truth[-1]["keypoints"]) + rng.normal(0, 2, 51)).tolist()
                if rng.random() < 0.2:
                    place = {**place, "category_id": int(rng.choice([each["id"] for each in categories]))}
                found.append({"id": len(found) + 1, **place, "score": int(rng.integers(0, 9)) / 8, "iscrowd": 0, **own})
    table = {"images": images, "categories": categories}
    return {**table, "annotations": truth}, {**table, "annotations": found}


def assert_same(truth: Table, found: Table, iou_type: IouType, limits: tuple[int, ...]) -> None:
    pytest.importorskip("hotcoco", reason="hotcoco is not installed: det-core[fast-eval]")
    slow = curves(truth, found, iou_type, limits, backend="pycocotools")
    fast = curves(truth, found, iou_type, limits, backend="hotcoco")
    for name, ours, reference in zip(slow._fields, fast, slow, strict=True):
        assert np.array_equal(ours, reference), name


@pytest.mark.parametrize("iou_type", IOU_TYPES)
@pytest.mark.parametrize("seed", range(11))
def test_hotcoco_gives_the_arrays_of_pycocotools_on_generated_detections(iou_type: IouType, seed: int) -> None:
    assert_same(*made(seed, iou_type), iou_type, LIMITS[iou_type] if seed % 3 else (3,))


def test_installed_hotcoco_is_used_without_warning() -> None:
    pytest.importorskip("hotcoco", reason="hotcoco is not installed: det-core[fast-eval]")
    module._fastest.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [module._fastest(iou_type) for iou_type in IOU_TYPES] == ["hotcoco"] * 3


@pytest.fixture
def forgetful() -> Any:
    """What was chosen is forgotten before and after."""
    module._fastest.cache_clear()
    yield
    module._fastest.cache_clear()


def test_without_hotcoco_pycocotools_is_used_with_a_warning(forgetful: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    truth, found = made(5, "bbox")
    with pytest.warns(DetWarning, match=r"hotcoco is not installed; pycocotools is used.*pip install hotcoco"):
        chosen = curves(truth, found, "bbox", [100])
    assert np.array_equal(chosen.precision, curves(truth, found, "bbox", [100], backend="pycocotools").precision)


def test_hotcoco_that_differs_or_fails_is_not_used(forgetful: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(*arguments: Any) -> module.Curves:
        return module.Curves(*(each + 1e-16 + (each > 0.5) * 1e-9 for each in module._by_pycocotools(*arguments)))

    def failing(*arguments: Any) -> module.Curves:
        raise RuntimeError("no")

    monkeypatch.setitem(sys.modules, "hotcoco", sys)
    for judge, message in (
        (other, "gives other metrics than pycocotools"),
        (failing, "hotcoco failed .RuntimeError: no."),
    ):
        module._fastest.cache_clear()
        monkeypatch.setattr(module, "_by_hotcoco", judge)
        with pytest.warns(DetWarning, match=message):
            assert module._fastest("bbox") == "pycocotools"


def test_later_hotcoco_failure_falls_back_to_pycocotools(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: Any) -> module.Curves:
        raise RuntimeError("no")

    monkeypatch.setattr(module, "_fastest", lambda iou_type: "hotcoco")
    monkeypatch.setattr(module, "_by_hotcoco", failing)
    truth, found = made(5, "bbox")
    with pytest.warns(DetWarning, match="hotcoco failed"):
        made_good = curves(truth, found, "bbox", [100])
    assert (made_good.recall > 0).any()
    with pytest.raises(RuntimeError, match="no"):
        curves(truth, found, "bbox", [100], COCO_SIGMAS, backend="hotcoco")
