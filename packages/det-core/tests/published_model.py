"""A published model that trains in a second: a plugin with its recipe, its weights on a local server, its COCO data."""

import functools
import hashlib
import http.server
import io
import json
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import standins
from det_core import plugins
from det_core.engine import train
from det_core.weights import read
from det_core.zoo import published
from det_core.zoo.published import PublishedModel
from PIL import Image
from rich.console import Console
from serving import serving

NAME, RECIPE = "Tiny/squares_R_1_1x", "squares_r1_1x"
PLUGIN = f"""
from det_core.plugins.hooks import hookimpl

@hookimpl
def det_recipes():
    return {{"{RECIPE}": "det_tiny:squares.yaml", "{NAME}": "det_tiny:squares.yaml"}}
"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and remembers what it was asked for."""

    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *given):
        pass


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> dict:
    """The state of the stand-in detector, trained until it finds most squares, as NumPy arrays by name."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(standins.recipe(steps=80), folder, console=Console(file=io.StringIO()))
    return {name: tensor.numpy() for name, tensor in read(folder / "best.safetensors").items()}


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Handler, directory=str(folder))
    with serving(handler) as server:
        server.folder = folder
        yield server


def write_coco(folder: Path) -> None:
    """Six pictures of squares in COCO's form; the numbers of the categories are 10 and 20."""
    (folder / "tiny" / "images").mkdir(parents=True)
    squares, images, annotations = standins.Squares(seed=1), [], []
    for index in range(len(squares)):
        sample = squares[index]
        Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(folder / "tiny" / "images" / f"{index}.png")
        height, width = sample.size
        images.append({"id": index + 1, "file_name": f"{index}.png", "height": height, "width": width})
        for (x0, y0, x1, y1), label in zip(sample.targets.boxes.tolist(), sample.targets.labels.tolist(), strict=True):
            box = [x0, y0, x1 - x0, y1 - y0]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": index + 1, "category_id": 10 * (label + 1), "bbox": box}
                | {"area": box[2] * box[3], "iscrowd": 0}
            )
    categories = [{"id": 10, "name": "red"}, {"id": 20, "name": "blue"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "tiny" / "boxes.json").write_text(json.dumps(content))


@pytest.fixture
def tiny(tmp_path, monkeypatch, server, trained):
    """The published model, with the folder of its data and ways to change what is published."""
    package = tmp_path / "site" / "det_tiny"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(PLUGIN)
    recipe = standins.recipe()
    coco = {"type": "coco", "images": "tiny/images", "annotations": "tiny/boxes.json"}
    recipe.tree["data"].update(train=coco, val=coco, test=None)
    recipe.save(package / "squares.yaml")
    record = tmp_path / "site" / "det_tiny-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: det-tiny\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text("[det]\ndet-tiny = det_tiny.plugin\n")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("DET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("DET_OFFLINE", raising=False)
    plugins.catalog(refresh=True)

    content = pickle.dumps({"model": trained, "__author__": "somebody"})
    file = server.folder / f"model_final_{hashlib.md5(content).hexdigest()[:6]}.pkl"
    file.write_bytes(content)
    everything = dict(published.models())

    def publish(**facts):
        defaults = {"task": "detection", "data": "squares", "weights": f"{server.url}/{file.name}"}
        everything[NAME] = PublishedModel(NAME, **{**defaults, **facts})
        monkeypatch.setattr(published, "models", lambda: everything)

    publish()
    write_coco(tmp_path / "data")
    yield SimpleNamespace(file=file, publish=publish, data=tmp_path / "data", server=server, state=trained)
    for name in [name for name in sys.modules if name.partition(".")[0] == "det_tiny"]:
        del sys.modules[name]
    monkeypatch.undo()
    plugins.catalog(refresh=True)
