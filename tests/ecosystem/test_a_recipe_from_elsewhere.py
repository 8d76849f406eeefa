"""A recipe that was resolved with plugins that are gone, or that have moved on, says so."""

import pytest
from wheelwright import plugin_wheel

RECIPE = """
model: {type: "acme_det:Thing"}
train: {type: acme-det/thing}
versions: {acme-det: "1.2"}
"""
BUILD = """
from det_core import recipes
from det_core.errors import DetError

try:
    print(type(recipes.load({path!r}).build("train")).__name__)
except DetError as error:
    print(error)
"""
SOURCE = "@hookimpl\ndef det_heads(): return {'thing': 'acme_det:Thing'}\nclass Thing: ...\n"


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.resolved.yaml"
    path.write_text(RECIPE)
    return path


def test_missing_plugin_is_named_with_version(environment, recipe):
    said = environment.code(BUILD.format(path=str(recipe))).stdout.strip()
    assert said == (
        "train.type: this recipe was written with acme-det 1.2, which is not installed; "
        "this name comes from the recipe alone; if you trust its author: pip install acme-det==1.2"
    )


@pytest.mark.parametrize(("version", "differs"), [("1.2.9", False), ("1.3", True)])
def test_newer_plugin_is_used_with_note(environment, wheels, recipe, version, differs):
    environment.install(plugin_wheel(wheels, "acme-det", SOURCE, version=version))
    try:
        result = environment.det("recipes", "show", str(recipe))
        assert result.returncode == 0
        note = f"note: {recipe}: was written with acme-det 1.2 (here {version}); its results may differ here\n"
        assert result.stderr == (note if differs else "")
        assert environment.code(BUILD.format(path=str(recipe))).stdout == "Thing\n"
    finally:
        environment.uninstall("acme-det")
