"""hotcoco gives the arrays of pycocotools on COCO's own files."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from det_core.evaluation.curves import curves
from det_core.evaluation.figures import LIMITS
from det_devkit.conformance.perturbed import perturbed
from det_inspect.results.coco_files import read_files


@pytest.mark.parametrize("name", ["instances_val2017", "instances_train2017", "person_keypoints_val2017"])
def test_hotcoco_gives_the_arrays_of_pycocotools_on_coco(name: str, tmp_path: Path) -> None:
    pytest.importorskip("hotcoco", reason="hotcoco is not installed: det-core[fast-eval]")
    annotations = Path(os.environ.get("DET_DATA", "datasets")) / "coco" / "annotations" / f"{name}.json"
    if not annotations.exists():
        pytest.skip(f"there is no {annotations}; set DET_DATA")
    (tmp_path / "found.json").write_text(json.dumps(perturbed(json.loads(annotations.read_text()))))
    files = read_files(annotations, tmp_path / "found.json")
    assert "segm" in files.iou_types
    for iou_type in files.iou_types:
        slow = curves(files.ground_truth, files.detections, iou_type, LIMITS[iou_type], backend="pycocotools")
        fast = curves(files.ground_truth, files.detections, iou_type, LIMITS[iou_type], backend="hotcoco")
        for field, ours, reference in zip(slow._fields, fast, slow, strict=True):
            assert np.array_equal(ours, reference), field
