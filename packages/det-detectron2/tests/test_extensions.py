"""Plugins teach the importer the settings of their own parts."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from det_core import plugins
from det_detectron2.importer import extensions
from det_detectron2.importer.detectron2 import Imported, UnsupportedError
from det_detectron2.importer.files import recipe_from_settings
from det_detectron2.importer.settings import Settings

SOURCE = """
defaults = {"MODEL.ACME.WIDTH": 8, "INPUT.ACME": False}
datasets = {"acme_train": {"type": "acme_images", "folder": "acme"}}


def backbone(s):
    return {"type": "acme_tiny", "width": s["MODEL.ACME.WIDTH"]}, {"res4": 16}, True


def mask_head(s, strides):
    return {"type": "acme_mask_head", "levels": list(strides)}


def whole(o, path):
    from det_detectron2.importer.detectron2 import Backbone

    return Backbone({"type": "acme_pyramid", "width": o(f"{path}.width")}, {"p3": 8, "p4": 16}, whole=True)


parts = {
    ("MODEL.BACKBONE.NAME", "build_acme_backbone"): backbone,
    ("MODEL.ROI_MASK_HEAD.NAME", "AcmeMaskHead"): mask_head,
    ("model.backbone.kind", "AcmePyramid"): whole,
}


def complete(settings, tree):
    if settings["INPUT.ACME"]:
        tree["data"]["train_transforms"] = []


EXTENSION = {"defaults": defaults, "datasets": datasets, "parts": parts, "complete": complete}
"""
PLUGIN = """
from det_core.plugins.hooks import hookimpl


@hookimpl
def det_importers():
    return {"detectron2.acme": "acme_importer:EXTENSION"}
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Installs a plugin whose importer has this source."""
    monkeypatch.syspath_prepend(tmp_path)
    record = tmp_path / "det_acme-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: det-acme\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text("[det]\ndet-acme = acme_plugin\n")
    (tmp_path / "acme_plugin.py").write_text(PLUGIN)

    def install(source: str) -> None:
        (tmp_path / "acme_importer.py").write_text(source)
        plugins.catalog(refresh=True)
        extensions.forget()

    yield install
    monkeypatch.undo()
    for name in ("acme_plugin", "acme_importer"):
        sys.modules.pop(name, None)
    plugins.catalog(refresh=True)
    extensions.forget()


def imported(**settings: object) -> Imported:
    return recipe_from_settings(
        {
            "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
            "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
            "MODEL.ROI_HEADS.IN_FEATURES": ["res4"],
            "MODEL.RPN.IN_FEATURES": ["res4"],
            **{key.replace("__", "."): value for key, value in settings.items()},
        }
    )


def test_plugin_translates_backbone_and_head_with_project_defaults(acme) -> None:
    acme(SOURCE)
    found = imported(
        MODEL__BACKBONE__NAME="build_acme_backbone", MODEL__MASK_ON=True, MODEL__ROI_MASK_HEAD__NAME="AcmeMaskHead"
    )
    assert found.tree["model"]["type"] == "mask_rcnn"
    assert found.tree["model"]["backbone"] == {"type": "acme_tiny", "width": 8}
    assert found.tree["model"]["mask_head"] == {"type": "acme_mask_head", "levels": ["res4"]}
    assert found.unknown == found.unused == []


def test_plugin_names_datasets_and_completes_recipes(acme) -> None:
    acme(SOURCE)
    given = {"MODEL__BACKBONE__NAME": "build_acme_backbone", "DATASETS__TRAIN": ["acme_train"]}
    plain, completed = imported(**given).tree["data"], imported(**given, INPUT__ACME=True).tree["data"]
    assert plain["train"] == {"type": "acme_images", "folder": "acme"}
    assert plain["train_transforms"]
    assert completed["train_transforms"] == []


def test_plugin_translates_backbone_of_python_file(acme) -> None:
    acme(SOURCE)
    found = recipe_from_settings(
        {
            "model.kind": "FCOS",
            "model.backbone.kind": "AcmePyramid",
            "model.backbone.width": 4,
            "model.backbone.out_channels": 256,
            "model.head.kind": "FCOSHead",
            "model.head.conv_dims": [256] * 4,
            "model.head_in_features": ["p3", "p4"],
            "model.num_classes": 3,
            "model.pixel_mean": [0, 0, 0],
            "model.pixel_std": [1, 1, 1],
        }
    )
    assert found.tree["model"]["backbone"] == {"type": "acme_pyramid", "width": 4}


def test_unknown_part_is_refused_with_package_name(acme) -> None:
    acme("EXTENSION = {}")
    with pytest.raises(UnsupportedError, match="pip install det-pointrend"):
        imported(
            MODEL__BACKBONE__NAME="build_resnet_backbone",
            MODEL__MASK_ON=True,
            MODEL__ROI_MASK_HEAD__NAME="PointRendHead",
        )


SOURCES = [
    "import nothing_of_the_kind",
    "EXTENSION = {'defaults': 3}",
    "EXTENSION = {'parts': ['x']}",
    "EXTENSION = {'partz': {}}",
    "raise SystemExit",
]


@pytest.mark.parametrize("source", SOURCES)
def test_broken_importer_is_reported_for_its_part_only(acme, source: str) -> None:
    acme(source)
    assert imported(MODEL__BACKBONE__NAME="build_resnet_backbone", MODEL__RESNETS__OUT_FEATURES=["res4"]).tree
    with pytest.raises(UnsupportedError, match=r"det-acme: acme_importer:EXTENSION cannot be used"):
        imported(MODEL__BACKBONE__NAME="build_acme_backbone")


def test_importer_of_disabled_plugin_is_not_loaded(acme, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plugins.DISABLE, "det-acme")
    acme("raise SystemExit")
    assert not [each for each in extensions.extensions() if each.distribution == "det-acme"]
    assert extensions.problems() == ()


def test_replaced_setting_counts_reads_of_both() -> None:
    s = Settings({"MODEL.ROI_HEADS.NAME": "AcmeROIHeads", "MODEL.RPN.NMS_THRESH": 0.5})
    other = s.replaced("MODEL.ROI_HEADS.NAME", "Res5ROIHeads")
    assert (other["MODEL.ROI_HEADS.NAME"], s["MODEL.ROI_HEADS.NAME"]) == ("Res5ROIHeads", "AcmeROIHeads")
    assert other["MODEL.RPN.NMS_THRESH"] == 0.5
    assert s.leftover() == ([], [])


def test_hanging_importer_times_out_and_others_work(
    acme: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DET_PLUGIN_TIMEOUT", "0.3")
    acme("import time\ntime.sleep(60)\n")
    assert "det-acme" not in {each.distribution for each in extensions.extensions()}
    [problem] = extensions.problems()
    assert "acme_importer:EXTENSION cannot be used: " in problem
    assert "more than DET_PLUGIN_TIMEOUT allows" in problem
    recipe_from_settings({})
