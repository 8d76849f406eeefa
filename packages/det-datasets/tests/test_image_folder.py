"""ImageFolder: images without truth."""

from pathlib import Path

import pytest
from det_core.contracts import Dataset, Indexed
from det_core.data import EvalLoader
from det_core.errors import ConfigError, DataError
from det_datasets.readers import ImageFolder
from PIL import Image


def write(folder: Path) -> Path:
    (folder / "b").mkdir()
    Image.new("RGB", (40, 30)).save(folder / "b" / "x.JPG", "jpeg")
    Image.new("RGB", (20, 10)).save(folder / "a.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_image_folder_lists_images_by_name_without_targets(tmp_path: Path) -> None:
    folder = ImageFolder(write(tmp_path), ["cell"])
    assert isinstance(folder, Dataset)
    assert isinstance(folder, Indexed)
    assert [(each.id, each.size, each.targets) for each in (folder[0], folder[-1])] == [
        ("a", (10, 20), None),
        ("b/x", (30, 40), None),
    ]
    assert (folder.size_of(1), list(folder.labels_of(0)), folder.path(1)) == ((30, 40), [], tmp_path / "b" / "x.JPG")
    with pytest.raises(IndexError):
        folder[2]


def test_it_goes_through_the_loader(tmp_path: Path) -> None:
    batches = list(EvalLoader(dataset=ImageFolder(write(tmp_path), ["cell"]), batch_size=2))
    assert [(batch.ids, batch.targets) for batch in batches] == [(("a", "b/x"), None)]


def test_image_folder_without_images_or_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image"):
        ImageFolder(tmp_path, ["cell"])
    with pytest.raises(DataError, match="there is no such folder"):
        ImageFolder(tmp_path / "no", ["cell"])
    with pytest.raises(ConfigError, match="at least one name, each once"):
        ImageFolder(write(tmp_path), [])
