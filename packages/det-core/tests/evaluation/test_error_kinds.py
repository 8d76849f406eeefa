"""Kinds of errors and what they cost: worked out by hand, then AP50 as COCO's, then hotcoco's balance."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from det_core.evaluation.coco_files import read_files
from det_core.evaluation.curves import curves
from det_core.evaluation.error_kinds import KINDS, error_costs, judge, pairs
from det_core.evaluation.evidence import Objects, Seen, overlaps, seen_in
from det_core.evaluation.figures import averages
from det_core.testing.perturbed import perturbed

Box = tuple[float, float, float, float]
A: Box = (0, 0, 10, 10)
B: Box = (100, 100, 110, 110)


def objects(*entries: tuple[Box, int, float], crowd: bool = False) -> Objects:
    return Objects(
        boxes=np.array([box for box, _, _ in entries], np.float64).reshape(-1, 4),
        labels=np.array([label for _, label, _ in entries], np.int64),
        scores=np.array([score for _, _, score in entries], np.float64),
        crowd=np.full(len(entries), crowd),
    )


def seen(truth: Objects, found: Objects) -> Seen:
    return Seen(1, (200, 200), truth, found)


def balance(truth: Objects, found: Objects, classes: int = 2) -> Any:
    images = [seen(truth, found)]
    return error_costs(images, [judge(image) for image in images], classes)


def test_overlaps_are_shares_of_the_union_and_within_crowds_of_the_detection() -> None:
    found = objects(((0, 0, 10, 5), 0, 1))
    assert overlaps(found, objects((A, 0, 1))).tolist() == [[0.5]]
    assert overlaps(found, objects(((0, 0, 10, 100), 0, 1), crowd=True)).tolist() == [[1.0]]
    assert overlaps(objects(((3, 3, 3, 3), 0, 1)), objects(((3, 3, 3, 3), 0, 1))).tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("box", "label", "kind"),
    [
        (A, 1, "classification"),
        ((0, 0, 10, 4), 0, "localisation"),  # overlap 0.4
        ((0, 0, 10, 4), 1, "both"),
        ((50, 50, 60, 60), 0, "background"),
        ((0, 0, 10, 0.9), 0, "background"),  # 0.09
    ],
)
def test_a_wrong_detection_is_called_by_what_it_overlaps(box: Box, label: int, kind: str) -> None:
    own = judge(seen(objects((A, 0, 1)), objects((box, label, 0.9))))
    assert own.kinds.tolist() == [kind]
    assert own.missed.tolist() == [True]
    # An object that is in the wrong class or place is not missed as well.
    assert own.lost.tolist() == [kind not in ("classification", "localisation")]


def test_a_second_detection_is_a_duplicate_and_the_better_one_is_right() -> None:
    own = judge(seen(objects((A, 0, 1)), objects((A, 0, 0.3), (A, 0, 0.8))))
    assert own.rows.tolist() == [1, 0]
    assert own.kinds.tolist() == ["right", "duplicate"]
    assert own.meant.tolist() == [0, 0]


def test_what_lies_in_a_crowd_is_ignored() -> None:
    own = judge(seen(objects(((0, 0, 100, 100), 0, 1), crowd=True), objects((A, 0, 0.9))))
    assert own.kinds.tolist() == ["ignored"]
    assert not own.missed.any()


def test_a_wrong_class_costs_the_object_and_the_false_alarm() -> None:
    # Class 0: its only object is called class 1, AP50 = 0. Class 1: a false alarm above the only hit, AP50 = 0.5.
    costs = balance(objects((A, 0, 1), (B, 1, 1)), objects((A, 1, 0.9), (B, 1, 0.8)))
    assert costs.ap50 == pytest.approx(0.25)
    assert costs.costs["classification"] == pytest.approx(0.75)
    assert costs.costs["missed"] == 0.0
    assert costs.counts == {**dict.fromkeys(KINDS, 0), "classification": 1}


def test_each_other_kind_costs_what_taking_it_away_gains() -> None:
    truth = objects((A, 0, 1))
    for box, kind in (((50.0, 50.0, 60.0, 60.0), "background"), ((0.0, 0.0, 10.0, 4.0), "localisation")):
        costs = balance(truth, objects((box, 0, 0.9), (A, 0, 0.8)), 1)
        assert costs.ap50 == pytest.approx(0.5)
        assert costs.costs == pytest.approx({**dict.fromkeys(KINDS, 0.0), kind: 0.5})
    two = objects((A, 0, 1), (B, 0, 1))
    # The duplicate stands between the two hits: precision 1, 1/2, 2/3 at recalls 1/2, 1/2, 1.
    costs = balance(two, objects((A, 0, 0.9), (A, 0, 0.8), (B, 0, 0.7)), 1)
    assert costs.costs["duplicate"] == pytest.approx(50 / 101 / 3)
    costs = balance(two, objects((A, 0, 0.9)), 1)
    assert costs.ap50 == pytest.approx(51 / 101)
    assert costs.costs["missed"] == pytest.approx(50 / 101)


def test_nothing_found_and_nothing_to_find() -> None:
    none = objects()
    assert balance(objects((A, 0, 1)), none).costs["missed"] == 1.0
    assert balance(none, none).ap50 is None
    assert balance(none, objects((A, 0, 0.5))).counts["background"] == 1
    assert error_costs([], [], 2).costs == {}


def test_pairs_tell_who_was_called_what() -> None:
    images = [seen(objects((A, 0, 1), (B, 1, 1)), objects((A, 1, 0.9), ((50, 50, 60, 60), 0, 0.8)))]
    assert sorted(pairs(images, [judge(images[0])])) == [(-1, 0), (0, 1), (1, -1)]


def made(seed: int, folder: Path, crowds: float) -> Any:
    rng = np.random.default_rng(seed)
    truth: dict[str, Any] = {"categories": [{"id": n, "name": str(n)} for n in (1, 2, 3)], "annotations": []}
    truth["images"] = [{"id": n, "height": 300, "width": 300} for n in range(30)]
    for image in truth["images"][1:]:
        for _ in range(int(rng.integers(0, 8))):
            x, y, w, h = (rng.random(4) * (150, 150, 140, 140) + (0, 0, 5, 5)).tolist()
            own = {
                "image_id": image["id"],
                "category_id": int(rng.integers(1, 4)),
                "iscrowd": int(rng.random() < crowds),
            }
            truth["annotations"].append(
                {"id": len(truth["annotations"]) + 1, **own, "bbox": [x, y, w, h], "area": w * h}
            )
    (folder / "t.json").write_text(json.dumps(truth))
    (folder / "f.json").write_text(json.dumps(perturbed(truth, seed, levels=10**6)))
    return read_files(folder / "t.json", folder / "f.json")


@pytest.mark.parametrize("seed", range(3))
def test_ap50_is_that_of_coco(seed: int, tmp_path: Path) -> None:
    files = made(seed, tmp_path, crowds=0.1)
    images = seen_in(files)
    own = error_costs(images, [judge(image) for image in images], len(files.classes))
    reference = dict(each[:2] for each in averages(curves(files.truth, files.found, "bbox", [100]), "bbox"))
    assert own.ap50 == pytest.approx(reference["AP50"], abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_counts_and_costs_are_those_of_hotcoco(seed: int, tmp_path: Path) -> None:
    hotcoco = pytest.importorskip("hotcoco", reason="hotcoco is not installed: det-core[fast-eval]")
    files = made(seed, tmp_path, crowds=0)  # which hotcoco counts as objects
    images = seen_in(files)
    own = error_costs(images, [judge(image) for image in images], len(files.classes))
    judged = hotcoco.COCOeval(hotcoco.COCO(dict(files.truth)), hotcoco.COCO(dict(files.found)), "bbox")
    judged.evaluate()
    theirs = judged.tide_errors()
    names = dict(zip(KINDS, ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), strict=True))
    assert own.counts == {kind: theirs["counts"].get(name, 0) for kind, name in names.items()}
    assert own.costs == pytest.approx({kind: theirs["delta_ap"][name] for kind, name in names.items()}, abs=1e-9)
