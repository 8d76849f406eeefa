"""`detectron2.config` and `detectron2.model_zoo`."""

import gzip
import json
import pickle
from pathlib import Path

import pytest
import yaml
from det_core.errors import DetError
from det_core.zoo import published
from det_detectron2.importer.files import recipe_from_settings, settings_from_yaml
from det_detectron2.layer import model_zoo
from det_detectron2.layer.config import CfgNode, LazyConfig, configurable, downgrade_config, get_cfg, upgrade_config

RECORDED = sorted((Path(__file__).parents[3] / "tests/reference/zoo").glob("*.json.gz"))


def test_get_cfg_merge_freeze_and_dump(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.merge_from_list(["SOLVER.BASE_LR", "0.5", "MODEL.ROI_HEADS.NUM_CLASSES", 3])
    assert (cfg.SOLVER.BASE_LR, cfg.MODEL.ROI_HEADS.NUM_CLASSES) == (0.5, 3)
    (tmp_path / "c.yaml").write_text(cfg.dump())
    other = get_cfg()
    other.merge_from_file(str(tmp_path / "c.yaml"))
    assert other == cfg
    cfg.freeze()
    with pytest.raises(AttributeError):
        cfg.SEED = 1
    with pytest.raises(KeyError, match=r"Non-existent config key: MODEL\.NOTHING"):
        get_cfg().merge_from_other_cfg(CfgNode({"MODEL": {"NOTHING": 1}}))
    with pytest.raises(ValueError, match="Type mismatch"):
        get_cfg().merge_from_list(["SOLVER.BASE_LR", "[1]"])


def test_merge_from_file_follows_bases_and_refuses_code(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("SOLVER: {BASE_LR: 0.25, STEPS: !!python/tuple [3, 4]}")
    (tmp_path / "own.yaml").write_text("_BASE_: base.yaml\nSOLVER: {MAX_ITER: 7}")
    cfg = get_cfg()
    cfg.merge_from_file(str(tmp_path / "own.yaml"))
    assert (cfg.SOLVER.BASE_LR, tuple(cfg.SOLVER.STEPS), cfg.SOLVER.MAX_ITER) == (0.25, (3, 4), 7)
    (tmp_path / "evil.yaml").write_text("SEED: !!python/object/apply:os.system ['true']")
    with pytest.raises(DetError):
        get_cfg().merge_from_file(str(tmp_path / "evil.yaml"), allow_unsafe=True)


def test_versions_upgrade_and_downgrade(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.CUSTOM = 1
    assert upgrade_config(downgrade_config(cfg, 0)) == cfg
    (tmp_path / "old.yaml").write_text("MODEL: {WEIGHT: w.pkl}")
    cfg.merge_from_file(str(tmp_path / "old.yaml"))
    assert cfg.MODEL.WEIGHTS == "w.pkl"


def test_configurable_takes_a_cfg_or_arguments() -> None:
    class Part:
        @configurable
        def __init__(self, size: int, *, extra: int = 1) -> None:
            self.size, self.extra = size, extra

        @classmethod
        def from_config(cls, cfg: CfgNode) -> dict[str, int]:
            return {"size": cfg.SIZE}

    cfg = CfgNode({"SIZE": 4})
    assert (Part(cfg).size, Part(cfg, extra=2).extra, Part(3).size) == (4, 2, 3)
    assert Part(cfg, size=9).size == 9


@pytest.mark.parametrize("name", ["COCO-Detection/retinanet_R_50_FPN_3x", "Misc/cascade_mask_rcnn_R_50_FPN_1x"])
def test_model_zoo_files_are_the_published_settings(name: str) -> None:
    settings = settings_from_yaml(Path(model_zoo.get_config_file(f"{name}.yaml")))
    (recorded,) = [each[name] for file in RECORDED if name in (each := json.loads(gzip.decompress(file.read_bytes())))]
    assert recipe_from_settings(settings).tree["model"] == recipe_from_settings(recorded["settings"]).tree["model"]
    cfg = model_zoo.get_config(f"{name}.yaml", trained=True)
    assert cfg.MODEL.WEIGHTS == published.of_recipe(name).weights == model_zoo.get_checkpoint_url(f"{name}.yaml")
    assert yaml.safe_load(cfg.dump())["MODEL"]["WEIGHTS"] == cfg.MODEL.WEIGHTS
    with pytest.raises(RuntimeError, match="not available"):
        model_zoo.get_config("COCO-Detection/nothing.yaml")


def test_base_files_of_the_model_zoo_serve_as_base(tmp_path: Path) -> None:
    folder = Path(model_zoo.get_config_file("COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml")).parents[1]
    own = f'_BASE_: "{folder}/Base-RCNN-FPN.yaml"\nMODEL: {{ROI_HEADS: {{NUM_CLASSES: 5}}}}\n'
    (tmp_path / "own.yaml").write_text(own)
    cfg = get_cfg()
    cfg.merge_from_file(str(tmp_path / "own.yaml"))
    assert (cfg.MODEL.BACKBONE.NAME, cfg.MODEL.ROI_HEADS.NUM_CLASSES) == ("build_resnet_fpn_backbone", 5)
    assert (cfg.SOLVER.MAX_ITER, cfg.MODEL.WEIGHTS) == (90000, "")


def test_settings_of_projects_come_from_plugins() -> None:
    pytest.importorskip("det_pointrend")
    from det_detectron2.layer.projects.point_rend import add_pointrend_config

    cfg = get_cfg()
    add_pointrend_config(cfg)
    assert cfg.MODEL.POINT_HEAD.NUM_CLASSES == 80
    cfg.merge_from_list(["MODEL.POINT_HEAD.NUM_CLASSES", 3])
    add_pointrend_config(cfg)
    assert cfg.MODEL.POINT_HEAD.NUM_CLASSES == 3


class _Trap:
    def __reduce__(self) -> object:
        return Path.touch, (Path("made-by-a-pickle"),)


def test_pickled_configuration_is_refused_by_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cfg.pkl", "cfg.yaml"):
        (tmp_path / name).write_bytes(pickle.dumps(_Trap()))
        for read in (get_cfg().merge_from_file, LazyConfig.load):
            with pytest.raises(DetError, match=r"pickled configuration, which may run code.*where you trust"):
                read(str(tmp_path / name))
    assert not Path("made-by-a-pickle").exists()


def test_pickle_that_a_program_reads_itself_gives_its_settings() -> None:
    cfg = get_cfg()
    cfg.merge_from_list(["SEED", 5])
    # As Detectron2 writes it: its module, detectron2.config.config, is one of the layer's.
    from det_detectron2.layer.config import config

    assert config.CfgNode is CfgNode
    assert pickle.loads(pickle.dumps(cfg)).SEED == 5


@pytest.mark.parametrize("more", ["MODEL: {NOTHING: 1}", "SOLVER: {BASE_LR: 0.1, NOTHING: [1]}"])
def test_unknown_setting_of_a_file_is_detectron2_error(tmp_path: Path, more: str) -> None:
    (tmp_path / "c.yaml").write_text(f"VERSION: 2\n{more}")
    with pytest.raises(KeyError, match=r"Non-existent config key: \w+\.NOTHING"):
        get_cfg().merge_from_file(str(tmp_path / "c.yaml"))
    with pytest.raises(AssertionError, match=r"Non-existent key: MODEL\.NOTHING"):
        get_cfg().merge_from_list(["MODEL.NOTHING", 1])
