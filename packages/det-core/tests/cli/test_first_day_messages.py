"""What a first day meets: paths that are not there, long lists, wrong folders, many faults of a kind."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from det_core import recipes
from det_core.cli.main import det
from det_core.data import CocoDataset
from det_core.errors import ConfigError, DataError, DetError
from det_core.recipes import Source
from det_core.recipes.values import location
from det_devkit.coco_files import content, write


def test_folder_without_a_run_is_called_so(tmp_path):
    with pytest.raises(DetError, match="is a folder without the files of a run; name a run, checkpoint or recipe"):
        recipes.load(tmp_path)


@pytest.mark.parametrize("name", ["runs/nothere", "nowhere/a.pth"])
def test_path_that_is_not_there_is_not_called_recipe(name: str) -> None:
    with pytest.raises(DetError, match=f"^{name}: is no file or folder that is there, and no name of a recipe"):
        recipes.load(name)


def test_unknown_name_without_a_slash_is_a_recipe() -> None:
    with pytest.raises(DetError, match="recipe 'nothere': is not known"):
        recipes.load("nothere")


def test_wrong_data_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DET_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"starts at DET_DATA, which is no folder; DET_DATA is '.*nowhere'"):
        location("coco/a.json", Path, "data.train.annotations")
    assert location(str(tmp_path / "a"), Path, "a") == tmp_path / "a"
    assert location("https://example.com/a", Source, "a") == "https://example.com/a"


def test_recipes_are_listed_by_words() -> None:
    found = CliRunner().invoke(det, ["recipes", "--filter", "retinanet", "--filter", "R50"])
    assert found.exit_code == 0
    names = [line.split()[0] for line in found.output.splitlines() if not line.startswith(" ")]
    assert "retinanet_r50_fpn_1x" in names
    assert all("retinanet" in name for name in names)
    assert "No recipe has this text." in CliRunner().invoke(det, ["recipes", "--filter", "zebra crossing"]).output


def test_several_bad_categories_are_categories(tmp_path: Path) -> None:
    data = content()
    for category in data["categories"]:
        del category["name"]
    images, annotations = write(tmp_path, content())
    annotations.write_text(json.dumps(data))
    with pytest.raises(DataError, match="2 categories cannot be used"):
        CocoDataset(images, annotations)


@pytest.mark.parametrize("place", ["images", "annotations", "categories"])
def test_ids_beyond_64_bits_are_named(place: str, tmp_path: Path) -> None:
    data = content()
    data[place][0]["id"] = 2**63
    images, annotations = write(tmp_path, content())
    annotations.write_text(json.dumps(data))
    with pytest.raises(DataError, match="9223372036854775808 has an id that is neither a whole number of 64 bits"):
        CocoDataset(images, annotations)
