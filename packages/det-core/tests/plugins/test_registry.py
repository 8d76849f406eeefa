"""Names are short, qualified or import paths; what is wrong with one is told when it is used."""

import pytest
from det_core.errors import PluginError, UnknownNameError
from det_core.plugins import known, registry
from det_core.recipes.moved import current


def offering(**hooks: dict[str, str]) -> str:
    return "".join(f"@hookimpl\ndef det_{kind}():\n    return {names!r}\n" for kind, names in hooks.items())


def failure(kind: str | None, name: str, where: str = "") -> str:
    with pytest.raises(UnknownNameError) as caught:
        registry.find(kind, name, where)
    return str(caught.value)


def test_short_and_qualified_names_are_equivalent():
    short, qualified = registry.find("backbones", "resnet"), registry.find("backbones", "det-core/resnet")
    assert short == qualified
    assert short.qualified == "det-core/resnet"


def test_import_path_needs_no_plugin():
    component = registry.find("backbones", "collections:OrderedDict")
    assert component.qualified == "collections:OrderedDict"
    assert component.load()(a=1) == {"a": 1}


def test_name_with_slash_is_found_unchanged(install):
    install("det-zoo", offering(recipes={"COCO-Detection/x_1x": "zoo:x.yaml", "x_1x": "zoo:x.yaml"}))
    assert registry.find("recipes", "COCO-Detection/x_1x").qualified == "det-zoo/COCO-Detection/x_1x"
    assert registry.find("recipes", "det-zoo/COCO-Detection/x_1x").name == "COCO-Detection/x_1x"


def test_name_of_two_plugins_is_error_on_use_only(install):
    install("det-b", offering(backbones={"net": "b:Net", "own": "b:Own"}))
    install("det-a", offering(backbones={"net": "a:Net"}))
    assert registry.find("backbones", "own").distribution == "det-b"
    assert registry.find("backbones", "det-b/net").target == "b:Net"
    assert failure("backbones", "net") == "backbone 'net': means several things; write 'det-a/net' or 'det-b/net'"
    assert failure("backbones", "net", "model.type").startswith("model.type: 'net' means several things; write")


def test_no_plugin_can_take_the_qualified_name_of_another(install):
    install("det-thief", offering(backbones={"det-core/resnet": "thief:Net"}))
    assert registry.find("backbones", "det-core/resnet").target == "det_core.backbones:ResNet"
    assert registry.find("backbones", "resnet").distribution == "det-core"


def test_same_name_of_another_kind_is_separate(install):
    install("det-a", offering(heads={"resnet": "a:Head"}))
    assert registry.find("heads", "resnet").target == "a:Head"
    assert "'det-core/resnet' or 'det-a/resnet'" in failure(None, "resnet") or "'det-a/resnet' or" in failure(
        None, "resnet"
    )


def test_unknown_name_gets_suggestions():
    assert failure("backbones", "ResNett", "model.type").startswith("model.type: there is no backbone named 'ResNett'")
    assert "did you mean 'resnet'" in failure("backbones", "ResNett")
    assert "`det plugins` lists" in failure("backbones", "zzzzzz")


def test_unknown_name_lists_inactive_plugins(install, monkeypatch):
    monkeypatch.setenv("DET_DISABLE_PLUGINS", "det-off")
    install("det-off", "")
    install("det-broken", "1 / 0")
    install("det-old", "", requires="det-core<0.0.1")
    text = failure("backbones", "thing")
    assert "det-off 1.0 (switched off by DET_DISABLE_PLUGINS)" in text
    assert "det-broken 1.0 (cannot be imported: ZeroDivisionError" in text
    assert "det-old 1.0 (needs det-core<0.0.1, but" in text


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("pointrend_rcnn_r50_fpn_1x", "det-pointrend"),
        ("det-pointrend/anything", "det-pointrend"),
        ("tensormask_r50_fpn_1x", "det-tensormask"),
        ("densepose_rcnn_r50_fpn_s1x", "det-densepose"),
        ("mask_rcnn_vitdet_b", "det-vitdet"),
        ("panoptic_fpn_r50_1x", "det-panoptic"),
        ("deeplab_v3", "det-panoptic"),
        ("tridentnet_fast_r50_c4_1x", "det-tridentnet"),
        ("resnet", ""),
        ("det-nowhere/x", ""),
    ],
)
def test_provider_of_name_is_known(name, package):
    assert known.provider(name) == package


def test_unknown_name_names_providing_package(install, monkeypatch):
    monkeypatch.setattr(known, "PACKAGES", {"det-nowhere": ("*nowhere*",)})
    assert "pip install det-nowhere" in failure("models", "nowhere_rcnn")
    install("det-nowhere", "1 / 0")
    text = failure("models", "nowhere_rcnn")
    assert "pip install" not in text
    assert "det-nowhere 1.0 (cannot be imported" in text


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("import no_such_thing", PluginError, "'lab' cannot be imported; it needs the module 'no_such_thing'"),
        ("raise ValueError('no')", PluginError, "'lab' cannot be imported; ValueError: no"),
        ("raise SystemExit(2)", PluginError, "'lab' cannot be imported; SystemExit: 2"),
        ("Nett = 1", UnknownNameError, "'lab' has no 'Net'; did you mean 'Nett'?"),
        ("Net = 1", PluginError, "'lab:Net' cannot be called"),
    ],
)
def test_target_failing_import_names_its_component(site, install, source, error, words):
    (site / "lab.py").write_text(source)
    install("det-lab", offering(backbones={"net": "lab:Net"}))
    with pytest.raises(error, match=words) as caught:
        registry.find("backbones", "net").load()
    assert str(caught.value).startswith("det-lab/net: ")


@pytest.mark.parametrize("path", ["lab:", ":Net", "a b:Net", "../lab:Net"])
def test_malformed_import_path_is_refused(path):
    with pytest.raises(UnknownNameError, match="is not an import path"):
        registry.find(None, path).load()


def test_two_spellings_of_one_component_are_the_same():
    assert registry.same("resnet", "det-core/resnet")
    assert registry.same("det_core.backbones:ResNet", "resnet")
    assert registry.same("nowhere", "nowhere")
    assert not registry.same("resnet", "fpn")
    assert not registry.same("nowhere", "det-core/nowhere")


def test_earlier_name_resolves_to_plugin_that_took_component(install):
    moved = (
        "MOVED_NAMES = {'det-core/spoon': 'det-kitchen/spoon', 'det_core.spoons': 'kitchen', 'det-core/resnet': 'x'}"
    )
    install("det-kitchen", moved + "\n" + offering(datasets={"spoon": "kitchen:Spoon"}))
    assert registry.find("datasets", "det-core/spoon").qualified == "det-kitchen/spoon"
    assert registry.find("backbones", "det-core/resnet").target == "det_core.backbones:ResNet"
    assert current("det_core.spoons:Spoon") == "kitchen:Spoon"
    assert current("det_core.forks:Fork") == "det_core.forks:Fork"


def test_table_of_earlier_names_that_is_none_is_reported(install):
    assert "MOVED_NAMES must be" in install("det-odd", "MOVED_NAMES = ['a']").problem
    odd = install("det-odder", "MOVED_NAMES = {'det-core/a': 3, 'det-core/b': 'det-odder/b'}")
    assert "MOVED_NAMES holds 'det-core/a': 3" in odd.problem
    assert odd.moved_names == {"det-core/b": "det-odder/b"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("datasets", "voc"),
        ("datasets", "det-core/yolo"),
        ("evaluators", "lvis"),
        ("recipes", "PascalVOC-Detection/faster_rcnn_R_50_C4"),
        ("recipes", "det-core/lvis_v1_mask_rcnn_r50_fpn_1x"),
    ],
)
def test_name_of_det_datasets_without_it_names_the_package(without, kind, name):
    without("det-datasets")
    assert "det-datasets would provide it: pip install det-datasets" in failure(kind, name)


@pytest.mark.parametrize("path", ["det_core.data:VocDataset", "det_core.data.voc:VocDataset"])
def test_earlier_import_path_without_its_package_names_the_package(without, path):
    without("det-datasets")
    with pytest.raises(UnknownNameError, match="det-datasets would provide it"):
        registry.import_target(current(path))
