"""Panoptic quality by hand: hits, misses, void and crowds."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from det_core.errors import ConfigError, DataError, StructureError
from det_core.structures import PanopticMap, Prediction, Sample
from det_panoptic.data import CocoPanoptic
from det_panoptic.evaluation import BoundaryQuality, PanopticQuality, StuffIoU
from det_panoptic.segments import IDS, SEGMENTS
from panoptic_files import truth

CLASSES = ("dog", "cat", "sky")


def judged(ids, segments, said, listed, evaluator=None, name=1):
    """The evaluator after one image; segments are (label, thing, crowd), what is said of each id is (label, thing)."""
    evaluator = evaluator or PanopticQuality(CLASSES)
    ids, said = torch.tensor(ids), torch.tensor(said)
    rows = [{"id": number, "label": label, "is_thing": bool(thing)} for number, (label, thing) in listed.items()]
    panoptic = PanopticMap(ids=said.int(), segments=rows)
    sample = Sample(image=torch.zeros(3, *ids.shape, dtype=torch.uint8), targets=truth(ids, *segments), id=name)
    evaluator.update(Prediction(panoptic=panoptic), sample)
    return evaluator


def test_pq_thing_with_three_of_four_pixels_matched():
    figures = judged([[1, 1, 1, 1, 0]], [(0, 1, 0)], [[7, 7, 7, 0, 0]], {7: (0, 1)}).result()
    assert figures["panoptic/SQ"] == 0.75
    assert figures["panoptic/RQ"] == 1
    assert figures["panoptic/PQ"] == figures["panoptic/PQ_things"] == figures["panoptic/PQ/dog"] == 0.75
    assert "panoptic/PQ_stuff" not in figures


def test_pq_iou_of_exactly_half_counts_fn_and_fp():
    figures = judged([[1, 1, 1, 2]], [(0, 1, 0), (2, 0, 0)], [[4, 4, 5, 5]], {4: (0, 1), 5: (2, 0)}).result()
    assert figures["panoptic/PQ/dog"] == pytest.approx(2 / 3)
    assert figures["panoptic/PQ/sky"] == 0  # 1 of 2
    assert figures["panoptic/PQ"] == pytest.approx(1 / 3)
    assert figures["panoptic/PQ_stuff"] == 0


def test_pq_wrong_class_counts_fn_and_fp():
    figures = judged([[1, 1]], [(0, 1, 0)], [[3, 3]], {3: (1, 1)}).result()
    assert figures["panoptic/PQ/dog"] == figures["panoptic/PQ/cat"] == figures["panoptic/RQ"] == 0


def test_void_pixels_of_a_hit_do_not_count():
    figures = judged([[1, 1, 0, 0]], [(0, 1, 0)], [[1, 1, 1, 0]], {1: (0, 1)}).result()
    assert figures["panoptic/PQ"] == 1


def test_pq_segment_mostly_in_void_is_no_fp():
    found = judged([[1, 1, 0, 0, 0]], [(2, 0, 0)], [[1, 2, 2, 2, 2]], {1: (2, 0), 2: (0, 1)}).result()
    assert "panoptic/PQ/dog" not in found  # 3 of its 4 pixels are void
    found = judged([[1, 1, 0, 0, 0]], [(2, 0, 0)], [[2, 2, 2, 2, 0]], {2: (0, 1)}).result()
    assert found["panoptic/PQ/dog"] == 0  # 2 of 4 are


def test_pq_crowd_is_no_fn_and_ignores_its_class():
    crowd = [(0, 1, 1), (2, 0, 0)]
    sky = {2: (2, 0)}
    assert judged([[1, 1, 1, 2]], crowd, [[0, 0, 0, 2]], sky).result()["panoptic/PQ"] == 1
    assert judged([[1, 1, 1, 2]], crowd, [[3, 3, 3, 2]], {3: (0, 1), **sky}).result()["panoptic/PQ"] == 1
    found = judged([[1, 1, 1, 2]], crowd, [[3, 3, 3, 2]], {3: (1, 1), **sky}).result()
    assert found["panoptic/PQ/cat"] == 0


def test_pq_fn_and_fp_count_half():
    ids, said = [[1, 1, 2, 2, 3, 3]], [[1, 1, 4, 0, 0, 0]]
    segments = [(0, 1, 0), (0, 1, 0), (2, 0, 0)]
    figures = judged(ids, segments, said, {1: (0, 1), 4: (0, 1)}).result()
    assert figures["panoptic/RQ/dog"] == pytest.approx(1 / (1 + 0.5 + 0.5))
    assert figures["panoptic/PQ/sky"] == 0


def test_segments_without_pixels_do_not_exist():
    figures = judged([[1, 1]], [(0, 1, 0), (1, 1, 0)], [[1, 1]], {1: (0, 1), 9: (1, 1)}).result()
    assert figures["panoptic/PQ"] == 1
    assert "panoptic/PQ/cat" not in figures


def test_pq_images_of_only_stuff_only_things_or_empty():
    evaluator = judged([[1, 1]], [(2, 0, 0)], [[1, 1]], {1: (2, 0)})
    assert evaluator.result()["panoptic/PQ_stuff"] == 1
    judged([[1, 1]], [(0, 1, 0)], [[0, 0]], {}, evaluator, name=2)
    assert evaluator.result()["panoptic/PQ_things"] == 0
    nothing = PanopticQuality(CLASSES)
    assert nothing.result() == {}
    assert nothing.notes == {"panoptic/PQ": "no segment was evaluated"}


def test_pq_is_independent_of_segment_ids_and_order():
    one = judged([[1, 1, 2, 0]], [(0, 1, 0), (2, 0, 0)], [[1, 2, 2, 2]], {1: (0, 1), 2: (2, 0)}).result()
    other = judged([[2, 2, 1, 0]], [(2, 0, 0), (0, 1, 0)], [[90, 5, 5, 5]], {5: (2, 0), 90: (0, 1)}).result()
    assert one == other


@pytest.mark.parametrize(
    ("said", "listed", "words"),
    [
        ([[1, 1, 1]], {1: (0, 1)}, "another size"),
        ([[1, 3]], {1: (0, 1)}, "not listed"),
        ([[1, 1]], {1: (3, 1)}, "an invalid label"),
        ([[-1, 1]], {1: (0, 1)}, "must lie in"),
        ([[1, 1]], {0: (0, 1)}, "must be positive"),
    ],
)
def test_predictions_that_cannot_be_are_refused(said, listed, words):
    with pytest.raises(StructureError, match=words):
        judged([[1, 1]], [(0, 1, 0)], said, listed)


def test_pq_duplicate_image_or_missing_ground_truth_is_refused():
    evaluator = judged([[1, 1]], [(0, 1, 0)], [[1, 1]], {1: (0, 1)})
    with pytest.raises(DataError, match="evaluated before"):
        judged([[1, 1]], [(0, 1, 0)], [[1, 1]], {1: (0, 1)}, evaluator)
    with pytest.raises(StructureError, match="no segments"):
        evaluator.update(Prediction(), Sample(image=torch.zeros(3, 1, 2, dtype=torch.uint8), targets=truth([[0, 0]])))
    with pytest.raises(DataError, match="no annotations"):
        evaluator.update(Prediction(), Sample(image=torch.zeros(3, 1, 2, dtype=torch.uint8), id=5))


def test_boundaries_see_a_shift_that_areas_forgive():
    ids = np.zeros((40, 40), np.int64)
    ids[8:32, 8:32] = 1
    shifted = np.roll(ids, 2, axis=1)
    given = (ids.tolist(), [(0, 1, 0), (2, 0, 0)], shifted.tolist(), {1: (0, 1)})
    area = judged(*given).result()["panoptic/SQ/dog"]
    # The rim of two pixels of a square of 24 has 176; what both rims share is two stripes of 2 x 22 and the corners.
    evaluator = judged(*given, evaluator=BoundaryQuality(CLASSES, width=0.036))
    assert area == pytest.approx(22 / 24)  # what is void is forgiven
    assert evaluator.result().get("boundary/SQ/dog", 0) < area


def test_equal_maps_are_perfect_on_their_boundaries_too():
    ids = np.ones((20, 20), np.int64)
    ids[5:12, 5:12] = 2
    evaluator = judged(
        ids.tolist(), [(2, 0, 0), (0, 1, 0)], ids.tolist(), {1: (2, 0), 2: (0, 1)}, BoundaryQuality(CLASSES)
    )
    assert evaluator.result()["boundary/PQ"] == 1


def test_pq_stuff_is_evaluated_with_things_as_one_class():
    assert StuffIoU(("dog", "cat", "sky"), num_stuff=1).classes == ("things", "sky")


DATA = Path(os.environ.get("DET_DATA", "")) / "coco-panoptic"


@pytest.mark.skipif(not DATA.is_dir(), reason="needs coco-panoptic in the folder that DET_DATA names")
def test_pq_ground_truth_of_real_images_is_perfect():
    folder = DATA / "annotations"
    dataset = CocoPanoptic(DATA / "val2017", folder / "panoptic_val2017.json", folder / "panoptic_val2017")
    evaluator = PanopticQuality(dataset.classes)
    there = [index for index in range(len(dataset)) if dataset.path(index).exists()]
    for index in there:
        sample = dataset[index]
        ids, rows = sample.targets.image_extras[IDS], sample.targets.image_extras[SEGMENTS].tolist()
        segments = [{"id": n, "label": row[0], "is_thing": bool(row[1])} for n, row in enumerate(rows, 1)]
        evaluator.update(Prediction(panoptic=PanopticMap(ids=ids.as_subclass(torch.Tensor), segments=segments)), sample)
    assert len(there) > 30
    assert evaluator.result()["panoptic/PQ"] == 1
    content = json.loads((folder / "panoptic_val2017.json").read_text())
    assert len(content["categories"]) == len(dataset.classes) == 133


@pytest.mark.parametrize("kind", [PanopticQuality, BoundaryQuality])
@pytest.mark.parametrize(("crowds", "wrong"), [("last", [0]), ("all", [])])
def test_pq_last_crowd_of_class_counts_as_in_panopticapi(kind, crowds, wrong):
    # Two crowds of dogs, then one of cats; the first prediction lies in the first crowd, the second in the last.
    segments = [(0, 1, 1), (0, 1, 1), (1, 1, 1), (2, 0, 0)]
    ids = [[1, 1, 2, 2, 3, 3, 4, 4]]
    said, listed = [[1, 1, 2, 2, 3, 3, 4, 4]], {1: (0, 1), 2: (0, 1), 3: (1, 1), 4: (2, 0)}
    figures = judged(ids, segments, said, listed, kind(CLASSES, crowds=crowds)).result()
    task = kind.task
    assert [label for label, name in enumerate(CLASSES) if f"{task}/PQ/{name}" in figures] == [*wrong, 2]
    assert figures[f"{task}/PQ/sky"] == 1


def test_quality_crowd_without_pixels_is_not_the_last(tmp_path):
    figures = judged([[1, 1, 1]], [(0, 1, 1), (0, 1, 1)], [[5, 5, 5]], {5: (0, 1)}).result()
    assert figures == {}


def test_quality_other_rules_for_crowds_are_refused():
    with pytest.raises(ConfigError, match="must be 'last' or 'all'; got 'none'"):
        PanopticQuality(CLASSES, crowds="none")
