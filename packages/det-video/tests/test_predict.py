"""`det video predict` with the detector that the repository ships, and with a stand-in that finds the discs."""

import json
from collections.abc import Iterator
from pathlib import Path

import av
import films
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from det_core.predict import Detector
from det_core.structures import Detections, ImageBatch, Prediction
from det_video.cli.evaluate import command as evaluate
from det_video.cli.predict import command
from det_video.frames import Video
from det_video.mot import read_mot
from torch import Tensor, nn

SHIPPED = Path(__file__).parents[3] / "examples" / "blood-cells" / "detector.safetensors"


class DiscModel(nn.Module):
    """Finds the discs by their color: boxes, masks, and the center as a keypoint."""

    num_classes = 2

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def forward(self, batch: ImageBatch, targets: None = None) -> list[Prediction]:
        self.calls.append(len(batch.pixels))
        return [
            Prediction(detections=self._found(image, size))
            for image, size in zip(batch.pixels, batch.sizes, strict=True)
        ]

    def _found(self, image: Tensor, size: tuple[int, int]) -> Detections:
        boxes, masks = [], []
        for color in films.COLORS[:3]:
            mask = (image - torch.tensor(color)[:, None, None]).abs().amax(0) < 70
            if mask.sum() > 50:
                rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
                boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                masks.append(mask)
        tensor = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        centers = (tensor[:, :2] + tensor[:, 2:]) / 2
        return Detections(
            boxes=tensor,
            labels=torch.arange(len(boxes)) % 2,
            scores=torch.full((len(boxes),), 0.9),
            size=size,
            masks=torch.stack(masks) if masks else torch.zeros(0, *size, dtype=torch.bool),
            keypoints=torch.cat([centers, torch.ones(len(boxes), 1)], 1)[:, None],
        )


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[DiscModel]:
    """Stands for every checkpoint in calls of the command."""
    model = DiscModel()
    monkeypatch.setattr(Detector, "load", lambda *args, **options: Detector(model, ["disc", "ball"], device="cpu"))
    return model


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return films.write(tmp_path / "film.mp4")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])


def test_film_of_300_frames_is_predicted_tracked_and_evaluated(tmp_path: Path, model: DiscModel):
    film = films.write(tmp_path / "film.mp4", 300)
    folder = tmp_path / "out"
    result = run(film, "--model", "m", "--track", "--save", "mp4,json,mot", "--output", folder, "--batch-size", 8)
    assert result.exit_code == 0, result.output
    assert "300 frames" in result.output
    assert max(model.calls) == 8
    tracks = read_mot(folder / "tracks.txt")
    assert set(tracks.ids.tolist()) == {1, 2, 3}
    lines = [
        f"{index + 1},{number},{x0},{y0},{x1 - x0},{y1 - y0},1,1,1"
        for index in range(300)
        for number, (x0, y0, x1, y1) in enumerate(films.boxes_at(index), 1)
    ]
    (tmp_path / "gt.txt").write_text("\n".join(lines))
    metrics = json.loads(
        CliRunner().invoke(evaluate, [str(tmp_path / "gt.txt"), str(folder / "tracks.txt"), "--json"]).output
    )
    assert metrics["IDSW"] == 0
    assert metrics["IDF1"] > 0.99
    assert metrics["HOTA"] > 0.8
    entries = json.loads((folder / "predictions.json").read_text())
    assert {entry["track_id"] for entry in entries} == {1, 2, 3}
    assert entries[-1]["time"] == pytest.approx(299 / 25, abs=1e-3)
    assert len(list(Video(folder / "video.mp4"))) == 300


def test_interrupted_run_goes_on_and_ends_the_same(tmp_path: Path, film: Path, model: DiscModel):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = ("--model", "m", "--track", "--save", "json,mot,mp4")
    assert run(film, *options, "--output", whole).exit_code == 0
    forward, calls = DiscModel.forward, iter(range(12))

    def stopping(self: DiscModel, batch: ImageBatch, targets: None = None) -> list[Prediction]:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return forward(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DiscModel, "forward", stopping)
        stopped = run(film, *options, "--output", parts)
    assert stopped.exit_code == 130
    assert f"Stopped; the predicted frames are in {parts}. The same command goes on" in stopped.output
    with (parts / "frames.jsonl").open("a") as file:
        file.write('{"index": 12, "ti')  # a line that was cut off
    model.calls.clear()
    result = run(film, *options, "--output", parts)
    assert result.exit_code == 0, result.output
    assert "12 frames predicted before; going on after them" in result.output
    assert sum(model.calls) == 18
    for name in ("tracks.txt", "predictions.json"):
        assert (parts / name).read_text() == (whole / name).read_text()
    for first, second in zip(Video(whole / "video.mp4"), Video(parts / "video.mp4"), strict=True):
        assert torch.equal(first, second)


def test_complete_run_gives_other_outputs_without_predicting(tmp_path: Path, film: Path, model: DiscModel):
    assert run(film, "--model", "m", "--track", "--save", "json", "--output", tmp_path / "out").exit_code == 0
    model.calls.clear()
    result = run(film, "--model", "m", "--track", "--save", "mot", "--output", tmp_path / "out")
    assert result.exit_code == 0
    assert not model.calls
    assert len(read_mot(tmp_path / "out" / "tracks.txt")) == 90


def test_every_start_end_reach_the_outputs(tmp_path: Path, film: Path, model: DiscModel):
    options = ("--every", 5, "--start", 0.2, "--end", 1)
    result = run(film, "--model", "m", "--track", "--save", "mp4,mot", "--output", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert sorted(set(read_mot(tmp_path / "out" / "tracks.txt").frames.tolist())) == [1, 6, 11, 16]
    times = [frame.time for frame in Video(tmp_path / "out" / "video.mp4").frames()]
    assert times == pytest.approx([0, 0.2, 0.4, 0.6], abs=1e-3)


def test_blurred_class_is_gone_from_the_film(tmp_path: Path, film: Path, model: DiscModel):
    run(film, "--model", "m", "--save", "pictures", "--blur", "ball", "--hide-labels", "--output", tmp_path / "out")
    picture = np.asarray(
        av.open(str(tmp_path / "out" / "film-000000.jpg")).__enter__().decode(video=0).__next__().to_image()
    )
    x0, y0, x1, y1 = (int(each) for each in films.boxes_at(0)[1])
    original = films.picture(0)
    inside = (slice(y0 + 1, y1 - 1), slice(x0 + 1, x1 - 1))
    assert picture[inside].astype(int).std((0, 1)).max() < original[inside].astype(int).std((0, 1)).max()
    assert "ball" in (tmp_path / "out" / "frames.jsonl").read_text()


def test_shipped_detector_predicts_photographs_as_a_film(tmp_path: Path):
    images = SHIPPED.parent / "images"
    for number in (7, 8):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.jpg").write_bytes((images / f"BloodImage_{number:05d}.jpg").read_bytes())
    result = run(tmp_path / "in", "--model", SHIPPED, "--save", "json,mp4", "--rate", 2, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert {entry["image_id"] for entry in entries} == {1, 2}
    assert [frame.time for frame in Video(tmp_path / "out" / "video.mp4").frames()] == pytest.approx([0, 0.5])


def test_all_faults_are_reported_at_once(tmp_path: Path, model: DiscModel):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("a file of the user")
    result = run(
        *(tmp_path / "film.mp4", "--model", "m.safetensors", "--output", tmp_path / "out", "--codec", "h999"),
        *("--start", 3, "--end", 2, "--save", "mp4,movie", "--appearance"),
    )
    assert result.exit_code == 2
    for text in (
        "there is no such file; end must be after start",
        "holds files that no prediction of a video wrote",
        "'movie'",
        "no video encoder 'h999'",
        "--appearance: is for tracking",
        "m.safetensors: there is no such file",
    ):
        assert text in result.output, result.output


def test_other_settings_in_a_used_folder_are_refused(tmp_path: Path, film: Path, model: DiscModel):
    assert run(film, "--model", "m", "--save", "json", "--output", tmp_path / "out").exit_code == 0
    result = run(film, "--model", "m", "--save", "json", "--every", 2, "--track", "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert "every was 1, and is 2 now; low_scores was False, and is True now" in result.output


def test_unknown_class_is_refused_with_the_nearest(tmp_path: Path, film: Path, model: DiscModel):
    result = run(film, "--model", "m", "--blur", "bal", "--output", tmp_path / "out")
    assert "the model has no class 'bal'" in str(result.exception)
    assert "ball" in str(result.exception)


def test_class_with_a_comma_is_named_whole(tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch):
    classes = ["disc, red", "ball"]
    monkeypatch.setattr(Detector, "load", lambda *args, **options: Detector(DiscModel(), classes, device="cpu"))
    for names, labels in (("disc, red", {0}), ("ball , ball", {1})):
        output = tmp_path / names
        result = run(film, "--model", "m", "--save", "json", "--classes", names, "--output", output)
        assert result.exit_code == 0, (result.output, result.exception)
        assert {entry["category_id"] for entry in json.loads((output / "predictions.json").read_text())} == labels
    result = run(film, "--model", "m", "--save", "json", "--blur", "disc,red", "--output", tmp_path / "new")
    assert "the model has no class 'disc', 'red'" in str(result.exception)


def test_damaged_film_is_predicted_and_reported(tmp_path: Path, model: DiscModel):
    film = films.write(tmp_path / "film.mkv", 60)
    content = film.read_bytes()
    film.write_bytes(content[: len(content) * 2 // 3])
    result = run(film, "--model", "m", "--save", "json", "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert "the file states 2.40 s" in result.output
    assert "frames read, the last at" in result.output
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) > 60


def test_eval_reports_all_missing_files(tmp_path: Path):
    result = CliRunner().invoke(evaluate, [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")])
    assert "a.txt" in str(result.exception)
    assert "b.txt neither" in str(result.exception)
