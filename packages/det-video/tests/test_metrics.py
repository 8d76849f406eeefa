from pathlib import Path

import numpy as np
import pytest
from det_core.errors import DataError
from det_video.metrics import mot_metrics
from det_video.mot import Tracks, concatenate, read_mot


def tracks(*rows: tuple[int, int, float]) -> Tracks:
    """Boxes of 10 x 10 pixels: frame, id, left edge."""
    frames, ids, left = (np.array(each) for each in zip(*rows, strict=True))
    boxes = np.stack([left, 0 * left, left + 10.0, 0 * left + 10.0], 1)
    return Tracks(frames.astype(np.int64), ids.astype(np.int64), boxes.astype(float))


def random_tracks(seed: int) -> tuple[Tracks, Tracks]:
    """Twelve objects over 60 frames, and predictions with shifts, misses, false boxes and switched numbers."""
    random = np.random.default_rng(seed)
    truth, predicted = [], []
    for frame in range(1, 61):
        for number in range(12):
            if frame < 4 * number or random.random() < 0.03:
                continue
            x, y = 40.0 * number + 0.7 * frame, 25.0 * (number % 3)
            truth.append((frame, number, x, y, 30.0, 40.0))
            if random.random() < 0.85:
                name = number + 12 * ((frame + 7 * number) // 35) if random.random() < 0.97 else (number + 1) % 12
                row = (frame, name, *(np.array([x, y, 30.0, 40.0]) + random.normal(0, 3, 4)))
                if name not in [each[1] for each in predicted if each[0] == frame]:
                    predicted.append(row)
        if random.random() < 0.3:
            predicted.append((frame, 1000 + frame // 5, *random.uniform(0, 400, 2), 30.0, 40.0))
    both = []
    for rows in (truth, predicted):
        values = np.array(rows)
        boxes = np.concatenate([values[:, 2:4], values[:, 2:4] + values[:, 4:6]], 1)
        both.append(Tracks(values[:, 0].astype(np.int64), values[:, 1].astype(np.int64), boxes))
    return both[0], both[1]


def test_perfect_tracks_have_metrics_of_one():
    truth = tracks(*((frame, number, 20.0 * number + frame) for frame in range(1, 11) for number in (1, 2)))
    metrics = mot_metrics(truth, truth)
    assert {name: metrics[name] for name in ("HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1")} == pytest.approx(
        dict.fromkeys(("HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1"), 1.0)
    )
    assert (metrics["IDSW"], metrics["FP"], metrics["FN"], metrics["MT"], metrics["ML"]) == (0, 0, 0, 2, 0)


def test_switch_after_half_the_frames_has_known_metrics():
    truth = tracks(*((frame, 1, 0.0) for frame in range(1, 11)))
    predicted = tracks(*((frame, 1 if frame <= 5 else 2, 0.0) for frame in range(1, 11)))
    metrics = mot_metrics(truth, predicted)
    # One switch of ten boxes; one of the two tracks is the right one; each pair shares 5 of 10 boxes.
    assert metrics["MOTA"] == pytest.approx(0.9)
    assert metrics["IDSW"] == 1
    assert metrics["IDF1"] == pytest.approx(0.5)
    assert metrics["AssA"] == pytest.approx(0.5)
    assert metrics["HOTA"] == pytest.approx(np.sqrt(0.5))


def test_misses_and_false_boxes_are_counted():
    truth = tracks(*((frame, 1, 0.0) for frame in range(1, 11)))
    predicted = tracks(*((frame, 1, 0.0) for frame in range(1, 8)), (3, 9, 500.0))
    metrics = mot_metrics(truth, predicted)
    assert (metrics["FN"], metrics["FP"]) == (3, 1)
    assert metrics["MOTA"] == pytest.approx(0.6)
    assert metrics["IDF1"] == pytest.approx(2 * 7 / (10 + 8))
    assert metrics["DetA"] == pytest.approx(7 / 11)


def test_no_predictions_give_zero():
    truth = tracks((1, 1, 0.0), (2, 1, 0.0))
    empty = Tracks(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)))
    metrics = mot_metrics(truth, empty)
    assert (metrics["MOTA"], metrics["IDF1"], metrics["HOTA"], metrics["FN"]) == (0, 0, 0, 2)


def test_metrics_of_two_films_add_their_counts():
    first, second = random_tracks(0), random_tracks(1)
    both = mot_metrics(*concatenate([first, second]))
    parts = [mot_metrics(*first), mot_metrics(*second)]
    for name in ("IDSW", "Frag", "FP", "FN", "MT", "ML"):
        assert both[name] == sum(part[name] for part in parts)
    assert min(p["HOTA"] for p in parts) <= both["HOTA"] <= max(p["HOTA"] for p in parts)


@pytest.mark.parametrize("seed", range(4))
def test_metrics_equal_those_of_trackeval(seed: int):
    trackeval = pytest.importorskip("trackeval", reason="trackeval is not installed")
    truth, predicted = random_tracks(seed)
    metrics = mot_metrics(truth, predicted)
    data = trackeval_data(truth, predicted)
    printing = {"PRINT_CONFIG": False}
    clear = trackeval.metrics.CLEAR({"THRESHOLD": 0.5, **printing}).eval_sequence(data)
    identity = trackeval.metrics.Identity({"THRESHOLD": 0.5, **printing}).eval_sequence(data)
    hota = trackeval.metrics.HOTA().eval_sequence(data)
    for name, key in {"MOTA": "MOTA", "MOTP": "MOTP", "IDSW": "IDSW", "Frag": "Frag", "MT": "MT", "ML": "ML"}.items():
        assert metrics[name] == pytest.approx(clear[key], abs=1e-9), name
    assert (metrics["FP"], metrics["FN"]) == (clear["CLR_FP"], clear["CLR_FN"])
    for name in ("IDF1", "IDP", "IDR"):
        assert metrics[name] == pytest.approx(identity[name], abs=1e-9), name
    for name in ("HOTA", "DetA", "AssA", "LocA"):
        assert metrics[name] == pytest.approx(np.mean(hota[name]), abs=1e-9), name


def trackeval_data(truth: Tracks, predicted: Tracks) -> dict:
    """The input of a metric of trackeval."""
    from det_video.tracking.assignment import iou_matrix

    frames = range(1, 61)
    numbers = [np.unique(each.ids, return_inverse=True)[1] for each in (truth, predicted)]
    ids = [[numbers[which][each.frames == frame] for frame in frames] for which, each in enumerate((truth, predicted))]
    return {
        "num_timesteps": 60,
        "num_gt_dets": len(truth),
        "num_tracker_dets": len(predicted),
        "num_gt_ids": int(numbers[0].max()) + 1,
        "num_tracker_ids": int(numbers[1].max()) + 1,
        "gt_ids": ids[0],
        "tracker_ids": ids[1],
        "similarity_scores": [
            iou_matrix(truth.boxes[truth.frames == frame], predicted.boxes[predicted.frames == frame])
            for frame in frames
        ],
    }


def test_file_is_read_and_ignored_lines_are_left_out(tmp_path: Path):
    (tmp_path / "gt.txt").write_text("1,1,10,20,30,40,1,1,1\n1,2,0,0,5,5,0,1,1\n\n2 1 11 20 30 40 1 1 1\n")
    truth = read_mot(tmp_path / "gt.txt", ground_truth=True)
    assert truth.frames.tolist() == [1, 2]
    assert truth.boxes[0].tolist() == [10, 20, 40, 60]
    assert len(read_mot(tmp_path / "gt.txt")) == 3


def test_wrong_lines_are_all_reported(tmp_path: Path):
    (tmp_path / "a.txt").write_text("1,1,10\n1,x,0,0,5,5\n0,1,0,0,5,5\n1,1,0,0,-5,5\n1,7,0,0,5,5\n1,7,0,0,5,5\n")
    with pytest.raises(DataError) as caught:
        read_mot(tmp_path / "a.txt")
    for line in (
        "line 1: has 3",
        "line 2: is not made of numbers",
        "line 3: frame",
        "line 4: has a neg",
        "line 6: id 7",
    ):
        assert line in str(caught.value)


def test_metrics_refuse_files_without_ids_or_ground_truth():
    truth = tracks((1, 1, 0.0))
    empty = Tracks(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)))
    with pytest.raises(DataError, match="holds no boxes"):
        mot_metrics(empty, truth)
    with pytest.raises(DataError, match="have no ids"):
        mot_metrics(truth, tracks((1, -1, 0.0)))
