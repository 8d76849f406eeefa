"""Recipes that ask for years, gigabytes or ten million layers, and files that are none, are refused at once."""

import os
import socket

import pytest
from det_core import recipes
from det_core.errors import ConfigError, DetError, RecipeError
from det_core.recipes import yaml as yamlfile
from hostile import read_apart, require_bounded, require_refused

MODEL = "extends: det-core/faster_rcnn_r50_fpn_1x\nmodel:\n"
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(15)
)
TEXTS = {
    "numbers": "[" + "1," * 450_000 + "]",
    "lines": "- 1\n" * 220_000,
    "keys": "".join(f"k{n}: 1\n" for n in range(100_000)),
    "brackets": "[" * 900_000,
    "braces": "{a: " * 200_000,
    "dashes": "- " * 400_000,
    "questions": "? " * 400_000,
    "anchors": "".join(f"- &a{n} 1\n" for n in range(90_000)),
    "an alias of 900 KB": "*" + "a" * 900_000,
    "a tag of 900 KB": "!" + "a" * 900_000 + " 1",
    "laughs": LAUGHS,
    "directives": "%a b\n" * 180_000,
    "an alias of itself": "model: &a {b: *a}",
    "steps": "".join(" " * n + "a:\n" for n in range(1300)),
    "hexadecimal digits": "model: {type: 0x" + "f" * 900_000 + "}",
    "digits": "model: {type: " + "9" * 900_000 + "}",
    "a key of digits": "9" * 900_000 + ": 1",
    "a text in place of a recipe": "a" * 900_000,
    "a summary of digits": "summary: " + "9" * 4000,
    "more than 1 MB": "#" * 1_000_001,
    "escapes": "model: {type: 'a'}\n\x1b[31m: 1",
    "escaped escapes": '"\\e[31m": 1',
    "ten million convolutions": MODEL + "  roi_heads: {box_head: {num_conv: 10000000}}",
    "a million convolutions": MODEL + "  roi_heads: {box_head: {num_conv: 1000000}}",
    "ten million layers": MODEL + "  roi_heads: {box_head: {num_fc: 10000000}}",
    "wide layers": MODEL + "  roi_heads: {box_head: {fc_dim: 1000000000}}",
    "many channels": MODEL + "  backbone: {out_channels: 1000000000}",
    "layers of torch": MODEL + "  backbone: {bottom_up: {depth: 1000000000}}",
    "an endless number of layers": MODEL + "  roi_heads: {box_head: {num_fc: " + "9" * 290 + "}}",
    "a type of 900 KB": "model: {type: " + "a" * 900_000 + "}",
    "an argument of 900 KB": MODEL + "  " + "a" * 900_000 + ": 1",
    "a parent of 900 KB": "extends: " + "a" * 900_000,
    "a parent that is a folder": "extends: ./",
    "a parent with a NUL": 'extends: "a\\0b.yaml"',
    "a list of 90 000 values": MODEL + "  proposal_generator: {in_features: [" + "a," * 30_000 + "]}",
}


@pytest.fixture(scope="module")
def endings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "reading.py").write_text(
        "from det_core import recipes\n\ndef build(path):\n"
        "    recipe = recipes.load(path)\n    recipe.check()\n    recipe.build_model()\n"
    )
    sound = folder / "sound.yaml"
    sound.write_text("extends: det-core/faster_rcnn_r50_fpn_1x\n")
    paths = [folder / f"{number}.yaml" for number in range(len(TEXTS))]
    for path, text in zip(paths, TEXTS.values(), strict=True):
        path.write_text(text)
    found = read_apart("reading:build", paths, sound, folder)
    return {name: found[path.name] for name, path in zip(TEXTS, paths, strict=True)}


@pytest.mark.parametrize("name", TEXTS)
def test_recipe_that_asks_for_too_much_is_refused(endings, name):
    require_refused(endings[name])


def test_numbers_in_recipes_are_limited_to_float_range():
    assert yamlfile.parse("9" * 300, "r") == int("9" * 300)
    with pytest.raises(RecipeError, match="it has more than 300 digits"):
        yamlfile.parse("9" * 301, "r")


def test_counts_of_layers_are_refused_by_the_check_already():
    recipe = recipes.load("faster_rcnn_r50_fpn_1x", ["model.roi_heads.box_head.num_fc=1000001"])
    with pytest.raises(ConfigError, match=r"model.roi_heads.box_head.num_fc: is more than 1000000; got 1000001"):
        recipe.check()


def test_build_within_budget_gives_the_same_numbers_as_without():
    import torch

    plan = recipes.load("retinanet_r50_fpn_1x")
    torch.manual_seed(3)
    first = plan.build_model().state_dict()
    torch.manual_seed(3)
    second = plan._plan("model").build().state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.fixture(params=["pipe", "socket", "device", "folder"])
def irregular(request, tmp_path, monkeypatch):
    """Something that is no regular file, under the name of a recipe."""
    monkeypatch.chdir(tmp_path)
    path, server = tmp_path / "r.yaml", None
    if request.param == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("this system has no pipes with names")
        os.mkfifo(path)
    elif request.param == "socket":
        if not hasattr(socket, "AF_UNIX"):
            pytest.skip("this system has no sockets with names")
        server = socket.socket(socket.AF_UNIX)
        server.bind("r.yaml")
    elif request.param == "device":
        if not os.path.exists("/dev/zero"):  # noqa: PTH110 (what the system calls it)
            pytest.skip("this system has no /dev/zero")
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    yield path
    if server is not None:
        server.close()


def readers():
    from det_core.data import image_size, read_image
    from det_core.engine.checkpoint import load_state, read_about, read_checkpoint
    from det_core.engine.scalars import read_scalars
    from det_core.files import jsonfile
    from det_core.models.heads.federated import _read as read_counts
    from det_core.weights import read
    from det_core.weights.reading import read_pickle

    parent = lambda path: recipes.recipe_from_tree({"extends": str(path), "model": {}})  # noqa: E731
    return {
        "a recipe": recipes.load,
        "a parent": parent,
        "an annotation file": jsonfile.read,
        "an image": read_image,
        "an image's head": image_size,
        "a state": load_state,
        "a checkpoint": read_checkpoint,
        "a checkpoint's metadata": read_about,
        "scalars": read_scalars,
        "counts": read_counts,
        "weights": read,
        "a pickle": read_pickle,
    }


@pytest.mark.parametrize("name", readers())
def test_only_regular_files_are_opened(irregular, name):
    with pytest.raises(DetError) as raised:
        readers()[name](irregular)
    assert len(str(raised.value)) < 1000


TREES = {
    "nested": '{"images": ' + "[" * 900 + "]" * 900 + ', "categories": []}',
    "nested ids": '{"images": [{"id": ' + "[" * 400 + "]" * 400 + ', "file_name": "a"}], "categories": []}',
    "nested deep": "[" * 500_000,
    "objects nested deep": '{"a":' * 300_000,
    "ids of many digits": '{"images": [{"id": ' + "9" * 4000 + "}]," + '"categories": [{"id": 1, "name": "a"}]}',
    "ids beyond 2 ** 63": '{"images": [{"id": 9223372036854775808, "file_name": "a", "height": 1, "width": 1}],'
    '"categories": [{"id": 1, "name": "a"}], "annotations": []}',
    "digits": '{"images": ' + "9" * 900_000 + "}",
    "sizes of many digits": '{"images": [{"id": 1, "file_name": "a", "height": ' + "9" * 4000 + ', "width": 1}],'
    '"categories": [{"id": 1, "name": "a"}]}',
    "areas of many digits": '{"images": [{"id": 1, "file_name": "a", "height": 9, "width": 9}],'
    '"categories": [{"id": 1, "name": "a"}], "annotations": [{"id": 1, "image_id": 1, "category_id": 1,'
    '"bbox": [0, 0, 1, 1], "area": ' + "9" * 4000 + "}]}",
    "empty lists": '{"images": [' + "[]," * 4_000_000 + "[]]}",
    "empty objects": '{"images": [' + "{}," * 4_000_000 + "{}]}",
    "a name of 10 MB": '{"images": [], "categories": [{"id": 1, "name": ' + "[" + '"' + "a" * 10**7 + '"]}]}',
    "a message of 10 MB": '{"' + "a" * 10**7 + '": 1}',
    "an id of 10 MB": '{"images": [{"id": "' + "a" * 10**7 + '"}], "categories": [{"id": 1, "name": "a"}]}',
    "category ids of many digits": '{"images": [], "categories": [{"id": ' + "9" * 4000 + ', "name": "a"}]}',
    "a list": "[1, 2]",
    "text with half a character": '{"images": [{"id": 1, "file_name": "\\ud800", "height": 0, "width": 1}], '
    '"categories": [{"id": 1, "name": "\\udfff"}]}',
}


@pytest.fixture(scope="module")
def of_trees(tmp_path_factory):
    folder = tmp_path_factory.mktemp("annotations")
    (folder / "annotations.py").write_text(
        "from det_core.data import CocoDataset\n\ndef read(path):\n    CocoDataset(path.parent, path)\n"
    )
    paths = [folder / f"{number}.json" for number in range(len(TREES))]
    for path, text in zip(paths, TREES.values(), strict=True):
        path.write_text(text)
    sound = folder / "sound.json"
    sound.write_text('{"images": [], "categories": [{"id": 1, "name": "a"}], "annotations": []}')
    found = read_apart("annotations:read", paths, sound, folder)
    return {name: found[path.name] for name, path in zip(TREES, paths, strict=True)}


@pytest.mark.parametrize("name", TREES)
def test_annotation_file_that_asks_for_too_much_is_refused(of_trees, name):
    require_bounded(of_trees[name])
    require_refused(of_trees[name])
