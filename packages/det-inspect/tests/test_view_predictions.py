"""Predictions in `det view`: kinds of errors at scores and overlaps, orders, comparison, runs."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from det_core.data.formats.coco import CocoDataset
from det_core.errors import DataError
from det_core.predict import Detector
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from det_inspect.view.assessment import Assessment
from det_inspect.view.comparison import Comparison, Thresholds
from det_inspect.view.picture_set import read_set
from det_inspect.view.predictions import is_result_file, read_predictions
from det_inspect.view.predictor import ModelPredictions
from det_inspect.view.session import Session
from test_view import client_of, names
from viewing import FIRST, SECOND, eventually, session_of, write_results, write_set

CELLS = Path(__file__).parents[3] / "examples" / "blood-cells"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predictions")
    pictures = session_of(write_set(folder / "set"), folder / "cache").set
    files = [write_results(folder / f"{name}.json", each) for name, each in (("first", FIRST), ("second", SECOND))]
    return Session("val", pictures, folder / "cache", [read_predictions(file, pictures) for file in files])


@pytest.fixture(scope="module")
def client(session):
    with client_of(session) as opened:
        yield opened


def kinds(client, picture, iou=0.5, model=0):
    models = client.get(f"/api/pictures/{picture}", params={"iou": iou}).json()["models"]
    return [(each["kind"], each["score"]) for each in models[model]["detections"]]


def test_detections_have_kinds_of_their_errors(client):
    assert kinds(client, 0) == [("right", 0.9), ("duplicate", 0.8), ("right", 0.7), ("background", 0.4)]
    assert kinds(client, 1) == [("classification", 0.6)]
    assert kinds(client, 0, 0.5, 1) == [("right", 0.95)]
    assert kinds(client, 0, 0.7, 1) == [("localisation", 0.95)]
    assert kinds(client, 2) == []


def test_thresholds_change_missed_objects_and_counts(client):
    def counts(**thresholds):
        items = client.get("/api/pictures", params=thresholds).json()["items"]
        return [each["errors"][0] for each in items]

    # Wrong detections and missed objects of each picture; the third is broken and still has an object.
    assert counts() == [[1, 1], [1, 1], [0, 1], [0, 0]]
    assert counts(score=0.3) == [[2, 1], [1, 1], [0, 1], [0, 0]]
    assert counts(score=0.85) == [[0, 2], [0, 2], [0, 1], [0, 0]]


def test_filters_by_kind_class_and_confusion(client):
    assert names(client, kind="duplicate") == ["a.png"]
    assert names(client, kind="classification") == ["b.tif"]
    assert names(client, kind="background") == []
    assert names(client, kind="background", score=0.3) == ["a.png"]
    assert names(client, kind="missed") == ["a.png", "b.tif", "broken.jpg"]
    assert names(client, kind="missed", model=1) == ["a.png", "broken.jpg"]
    assert names(client, kind="duplicate", **{"class": 1}) == []
    assert names(client, true=-1, predicted=0, score=0.3) == ["a.png"]
    assert names(client, true=0, predicted=0) == ["a.png"]
    assert names(client, true=0, predicted=-1) == ["a.png", "b.tif", "broken.jpg"]
    assert names(client, true=2, predicted=1) + names(client, true=0, predicted=1) == ["b.tif"]
    assert client.get("/api/pictures?kind=odd").status_code == 422


def test_orders_put_worst_and_most_different_first(client):
    assert names(client, sort="worst")[0] == "a.png"
    assert names(client, sort="worst", model=1)[0] == "a.png"
    assert names(client, sort="difference") == ["b.tif", "broken.jpg", "missing.jpg", "a.png"]


def test_confusion_matrix_counts_classes_and_background(client):
    content = client.get("/api/figures", params={"score": 0.3}).json()["confusion"]
    assert content["labels"] == [0, 1, 2, -1]
    # Rows: cell, script, person, background. The cell of the second picture may be confused as well as the person.
    assert content["counts"][0][:2] == [1, 0]
    assert content["counts"][1] == [0, 1, 0, 0]
    assert content["counts"][0][1] + content["counts"][2][1] == 1
    assert content["counts"][3] == [1, 0, 0, 0]
    assert sum(map(sum, content["counts"])) == 2 + 1 + 1 + 3


def test_curves_and_ap_follow_overlap(client):
    def figures(**thresholds):
        content = client.get("/api/figures", params=thresholds).json()
        return {each["label"]: each["ap"] for each in content["curves"]}, content

    aps, content = figures(model=1)
    assert aps[2] == 1.0
    assert aps[0] == pytest.approx(2 / 4, abs=0.01)
    first, second = content["totals"]
    assert second["ap"] == pytest.approx(np.mean([aps[0], 0, 1]), abs=0.001)
    assert second["kinds"]["right"] == 3
    assert first["name"] == "first.json"
    assert figures(model=1, iou=0.7)[0][0] < aps[0]
    person = next(each for each in content["curves"] if each["label"] == 2)
    assert person["points"][-1] == [1.0, 1.0, 0.9]


def test_figures_need_predictions(tmp_path):
    with client_of(session_of(write_set(tmp_path / "set"), tmp_path / "cache")) as opened:
        assert opened.get("/api/figures").status_code == 404
        assert opened.get("/api/models").json() == {"models": [], "kinds": {}}


def test_models_are_counted(client):
    content = client.get("/api/models", params={"score": 0.3}).json()
    assert [each["name"] for each in content["models"]] == ["first.json", "second.json"]
    assert content["kinds"] == {"right": 2, "classification": 1, "duplicate": 1, "background": 1, "missed": 3}
    assert client.get("/pictures/0/drawn").status_code == 404


def test_scores_keep_kinds_of_better_detections(session, tmp_path):
    """Detections above a threshold are matched as if the others had not been predicted."""
    generator = np.random.default_rng(0)
    entries = [
        {
            "image_id": int(generator.integers(10, 12)),
            "category_id": int(generator.integers(1, 4)),
            "bbox": [*generator.uniform(0, 30, 2).tolist(), *generator.uniform(10, 40, 2).tolist()],
            "score": float(generator.uniform()),
        }
        for _ in range(60)
    ]
    comparison = session.comparison

    def rows(folder, entries, threshold):
        file = write_results(folder / "results.json", entries)
        table = Assessment(session.set, read_predictions(file, session.set)).table(0.5)
        passing = table.score >= threshold
        crowd = comparison.assessments[0].crowd
        kinds = sorted(zip(table.score[passing].tolist(), table.kind[passing].tolist(), strict=True))
        return kinds, table.missed(session.set, crowd, threshold).tolist()

    every = rows(tmp_path, entries, 0.6)
    passing = rows(tmp_path, [each for each in entries if each["score"] >= 0.6], 0.0)
    assert every == passing
    assert len(every[0]) > 10


def test_bad_results_are_counted_and_none_refused(session, tmp_path):
    bad = ({"image_id": 99}, {"category_id": 9}, {"score": "high"}, {"bbox": [1, 2]})
    file = write_results(tmp_path / "some.json", [*FIRST, *({**FIRST[0], **each} for each in bad)])
    file.write_text(file.read_text("utf-8")[:-1] + ", 7]", "utf-8")
    predictions = read_predictions(file, session.set)
    assert sum(map(len, predictions.by_picture.values())) == len(FIRST)
    [note] = [each for each in predictions.notes if "cannot be used" in each]
    assert note.startswith("5 of 10 results cannot be used: result number 6 is of image 99")
    with pytest.raises(DataError, match="none of the results"):
        read_predictions(write_results(tmp_path / "none.json", [{**FIRST[0], **each} for each in bad]), session.set)
    (tmp_path / "object.json").write_text("{}", "utf-8")
    with pytest.raises(DataError, match="is no file of COCO results"):
        read_predictions(tmp_path / "object.json", session.set)
    assert is_result_file(file)
    assert not is_result_file(tmp_path / "object.json")
    assert not is_result_file(tmp_path / "absent.json")


def test_results_without_boxes_get_those_of_masks(session, tmp_path):
    entry = {"image_id": 10, "category_id": 1, "segmentation": [[10, 20, 40, 20, 40, 50, 10, 50]]}
    predictions = read_predictions(write_results(tmp_path / "masks.json", [entry]), session.set)
    assert Comparison(session.set, [predictions]).kinds(Thresholds()) == {"right": 1, "missed": 5}


def test_equal_ids_in_two_splits_choose_validation(tmp_path):
    file = write_set(tmp_path / "set")
    listing = CocoDataset.listing(file.parent / "images", file)
    pictures = read_set({"train": listing, "val": listing})
    predictions = read_predictions(write_results(tmp_path / "first.json", FIRST), pictures)
    assert sorted(predictions.by_picture) == [4, 5, 6, 7]
    assert pictures.classes == session_of(file, tmp_path).set.classes


def test_checkpoint_predicts_pages_first_and_stores(tmp_path, monkeypatch):
    listing = CocoDataset.listing(CELLS / "images", CELLS / "instances_val.json")
    pictures = read_set({"val": replace(listing, content={**listing.content, "images": listing.content["images"][:4]})})

    def predictions():
        about = {"source": str(CELLS / "detector.safetensors"), "pictures": pictures, "cache": tmp_path}
        return ModelPredictions("cells", {}, **about, device="cpu")

    model = predictions()
    assert model.state == "waiting"
    with client_of(Session("cells", pictures, tmp_path, [model])) as client:
        client.get("/api/pictures", params={"offset": 3})
        assert 3 in eventually(lambda: {**model.by_picture}, bool, 120)
        eventually(lambda: model.state, lambda state: state == "done", 120)
        [first] = client.get("/api/pictures", params={"limit": 1}).json()["items"]
        assert client.get("/api/models").json()["kinds"]["right"] > 20
        answer = client.get("/pictures/0/drawn", params={"writer": "pictures"})
        assert Image.open(io.BytesIO(answer.content)).size == (first["width"], first["height"])
        for writer, words in (("json", "draws no picture"), ("absent", "absent")):
            assert words in client.get("/pictures/0/drawn", params={"writer": writer}).json()["errors"][0]
    monkeypatch.setattr(Detector, "load", None)  # is not needed again
    again = predictions()
    assert again.state == "done"
    assert [len(again.by_picture[index]) for index in range(4)] == [len(model.by_picture[index]) for index in range(4)]


def test_model_that_cannot_be_loaded_is_reported(session, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"nothing of the kind")
    about = {"source": str(tmp_path / "broken.safetensors"), "pictures": session.set, "cache": tmp_path}
    model = ModelPredictions("broken", {}, **about)
    model.want([0])
    assert "broken.safetensors" in eventually(lambda: model.state, lambda state: state.startswith("failed"), 60)
    model.close()
