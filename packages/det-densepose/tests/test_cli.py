"""The commands, and dumps of older versions."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from det_core.errors import ConfigError, DataError
from det_densepose.cli import densepose
from det_densepose.data import DensePoseDataset
from det_densepose.results.compressed import compress
from det_densepose.results.dumps import read_dump, selected
from PIL import Image

OCTAHEDRON = "v 1 0 0\nv -1 0 0\nv 0 1 0\nv 0 -1 0\nv 0 0 1\nv 0 0 -1\n" + "".join(
    f"f {a} {b} {c}\n" if positive else f"f {b} {a} {c}\n"
    for a, b, c, positive in (
        (1, 3, 5, True),
        (2, 3, 5, False),
        (1, 4, 5, False),
        (2, 4, 5, True),
        (1, 3, 6, False),
        (2, 3, 6, True),
        (1, 4, 6, True),
        (2, 4, 6, False),
    )
)


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(densepose, [str(each) for each in arguments])


def test_render_writes_a_dataset_that_can_be_read(tmp_path: Path) -> None:
    outcome = run("render", tmp_path, "--count", 2, "--size", 64, "--figures", "1", "--dense")
    assert outcome.exit_code == 0, outcome.output
    dataset = DensePoseDataset(tmp_path / "images", tmp_path / "annotations.json", body="det_figure")
    assert len(dataset) == 2
    assert dataset.num_surfaces == 2
    assert Image.open(tmp_path / "dense" / "000001_IUV.png").size == (64, 64)


def test_render_of_the_same_seed_is_the_same(tmp_path: Path) -> None:
    for name in "ab":
        assert run("render", tmp_path / name, "--count", 1, "--size", 48).exit_code == 0
    files = [sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in "ab"]
    assert [a.read_bytes() == b.read_bytes() for a, b in zip(*files, strict=True)] == [True, True]


@pytest.mark.parametrize("figures", ["0-2", "3-1", "x"])
def test_render_of_impossible_numbers_is_a_usage_error(tmp_path: Path, figures: str) -> None:
    outcome = run("render", tmp_path, "--figures", figures)
    assert outcome.exit_code == 2
    assert "--figures" in outcome.output


def test_mesh_make_writes_and_draws_a_body(tmp_path: Path) -> None:
    (tmp_path / "fish.obj").write_text(OCTAHEDRON)
    outcome = run("mesh", "make", tmp_path / "fish.obj", "--features", 4)
    assert outcome.exit_code == 0, outcome.output
    assert "6 vertices, symmetric" in outcome.output
    with np.load(tmp_path / "fish.npz") as file:
        assert file["symmetry"].tolist() == [1, 0, 2, 3, 4, 5]
        assert file["features"].shape == (6, 4)
        # Over the middles of two edges, in units in which the body is 1.7 long.
        assert file["geodesics"][0, 1] == pytest.approx(np.sqrt(6) * 0.85)
    picture = np.asarray(Image.open(tmp_path / "fish.png"))
    assert (picture < 250).any()


def test_mesh_make_of_a_crooked_mesh_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "fish.obj").write_text(OCTAHEDRON.replace("v 1 0 0", "v 3 0 1"))
    outcome = run("mesh", "make", tmp_path / "fish.obj")
    assert outcome.exit_code == 1
    assert "is not symmetric in x" in outcome.output
    assert run("mesh", "make", tmp_path / "fish.obj", "--axis", "none").exit_code == 0


def test_show_of_missing_pictures_is_one_line(tmp_path: Path) -> None:
    outcome = run("show", tmp_path / "none.jpg", "--model", "x", "--output", tmp_path)
    assert outcome.exit_code == 1
    assert "there is no such picture or folder" in outcome.output
    outcome = run("show", tmp_path, "--model", "x", "--output", tmp_path, "--draw", "face")
    assert outcome.exit_code == 2
    assert "'face' is none of segm, u, v" in outcome.output


def test_texture_of_other_atlas_layout_is_one_line(tmp_path: Path) -> None:
    Image.new("RGB", (50, 50)).save(tmp_path / "a.png")
    outcome = run("texture", tmp_path, "--model", "x", "--output", tmp_path, "--put", tmp_path / "a.png")
    assert outcome.exit_code == 1
    assert "is no texture atlas of 24 parts" in outcome.output


@pytest.fixture
def dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file as the published command wrote it: dataclasses of a package that is not installed here."""
    module = ModuleType("densepose.structures.chart_result")
    kind = type("DensePoseChartResultWithConfidences", (), {"__module__": module.__name__})
    module.DensePoseChartResultWithConfidences = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("densepose", "densepose.structures"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    found = kind()
    found.__dict__ |= {"labels": torch.full((4, 3), 2), "uv": torch.full((2, 4, 3), 0.5), "sigma_2": None}
    quantized = compress(np.full((3, 4, 3), 7, np.uint8))
    entry = {
        "file_name": "people/a.jpg",
        "scores": torch.tensor([0.95, 0.5]),
        "pred_boxes_XYXY": torch.tensor([[0.0, 0, 3, 4], [1, 1, 4, 5]]),
        "pred_densepose": [found, ((3, 4, 3), quantized)],
    }
    torch.save([entry], tmp_path / "dump.pkl")
    return tmp_path / "dump.pkl"


def test_read_dump_gives_arrays_without_the_published_package(dump: Path) -> None:
    [entry] = read_dump(dump)
    assert entry.scores == pytest.approx((0.95, 0.5))
    assert (entry.arrays[0]["labels"] == 2).all()
    assert entry.arrays[0]["uv"].shape == (2, 4, 3)
    assert (entry.arrays[1]["labels"] == 7).all()


def test_query_lists_and_saves_selected_objects(dump: Path, tmp_path: Path) -> None:
    outcome = run("query", dump, "--select", "score:float=0.9-1", "--save", tmp_path / "out")
    assert outcome.exit_code == 0, outcome.output
    assert "people/a.jpg: 1 objects (0.9500)" in outcome.output
    with np.load(tmp_path / "out" / "a.npz", allow_pickle=False) as file:
        assert sorted(file.files) == ["boxes", "labels_0", "scores", "uv_0"]
    assert "nothing fits" in run("query", dump, "--select", "file_name=b.jpg").output


def test_selected_by_unknown_field_is_refused(dump: Path) -> None:
    with pytest.raises(ConfigError, match="'color=red' is no selector"):
        selected(read_dump(dump), ["color=red"])


def test_read_dump_refuses_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return print, ("run",)

    torch.save([Evil()], tmp_path / "dump.pkl")
    with pytest.raises(DataError, match="no dump of DensePose that can be read safely"):
        read_dump(tmp_path / "dump.pkl")


def test_bootstrap_without_the_model_is_one_line(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    outcome = run("bootstrap", tmp_path / "none", tmp_path / "a.png", "--output", tmp_path / "a.json")
    assert outcome.exit_code == 1
    assert outcome.output.startswith("Error: ")
    assert not (tmp_path / "a.json").exists()


def test_data_check_lists_faults_of_points(tmp_path: Path) -> None:
    from det_inspect.datasets.check import check

    Image.new("RGB", (20, 20)).save(tmp_path / "1.png")
    record = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "dp_x": [300], "dp_y": [1]}
    record |= {"dp_I": [25], "dp_U": [0], "dp_V": [0]}
    content = {"images": [{"id": 1, "file_name": "1.png", "width": 20, "height": 20}], "annotations": [record]}
    content["categories"] = [{"id": 1, "name": "person"}]
    (tmp_path / "a.json").write_text(json.dumps(content))
    report = check({"train": lambda: DensePoseDataset.listing(tmp_path, tmp_path / "a.json")})
    kinds = {defect.kind for defect in report.defects}
    assert kinds == {"broken DensePose points", "DensePose points outside the box"}
