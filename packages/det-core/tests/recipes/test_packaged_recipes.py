"""Recipes that packages bring, and their names."""

import pytest
from det_core import recipes
from det_core.errors import UnknownNameError

MODEL = 'model: {type: "lab:Net", depth: 34}\n'


@pytest.fixture
def zoo(install, site):
    """A plugin with three recipes, one of them torn, and aliases."""
    package = site / "zoo_files"
    (package / "recipes").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "recipes" / "one.yaml").write_text(MODEL + "summary: The first.\n")
    (package / "recipes" / "two.yaml").write_text("extends: one.yaml\nmodel: {depth: 2}\n")
    (package / "recipes" / "torn.yaml").write_text("model: [")
    names = {name: f"zoo_files:recipes/{name}.yaml" for name in ("one", "two", "torn")}
    names["Zoo-Detection/ONE"] = names["one"]
    names["gone"] = "no_such_package:gone.yaml"
    install("det-zoo", f"@hookimpl\ndef det_recipes():\n    return {names!r}\n")
    return package


@pytest.mark.parametrize(
    "name", ["one", "det-zoo/one", "Zoo-Detection/ONE", "Zoo-Detection/ONE.yaml", "zoo_files:recipes/one.yaml"]
)
def test_recipe_has_short_qualified_and_published_name(zoo, name):
    assert recipes.load(name).tree["model"]["depth"] == 34


def test_packaged_recipe_may_extend_adjacent_or_foreign_recipe(zoo, write):
    assert recipes.load("two").tree["model"] == {"type": "lab:Net", "depth": 2}
    assert recipes.load(write("extends: det-zoo/two\nmodel: {depth: 5}")).tree["model"]["depth"] == 5


def test_recipes_are_listed_with_aliases_summaries_and_problems(zoo):
    listed = {each.name: each for each in recipes.listing()}
    assert set(listed) >= {"one", "two", "torn", "gone"}
    assert listed["one"].aliases == ("Zoo-Detection/ONE",)
    assert (listed["one"].summary, listed["two"].summary) == ("The first.", "")
    assert "is not YAML" in listed["torn"].problem
    assert "'no_such_package' cannot be imported" in listed["gone"].problem
    assert [name for name in recipes.names() if name in ("one", "two")] == ["one", "two"]
    assert "Zoo-Detection/ONE" not in recipes.names()


def test_name_of_two_plugins_is_listed_qualified(zoo, install):
    install("det-another", "@hookimpl\ndef det_recipes():\n    return {'one': 'zoo_files:recipes/one.yaml'}\n")
    assert {"det-zoo/one", "det-another/one"} <= set(recipes.names())
    with pytest.raises(UnknownNameError, match="write 'det-another/one' or 'det-zoo/one'"):
        recipes.load("one")


def test_published_name_with_suffix_resolves_without_such_file(zoo, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert recipes.load("one.yaml").source == "det-zoo/one"
