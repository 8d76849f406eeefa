"""Programs that predict, load weights, register data sets and draw."""

from pathlib import Path

import numpy as np
import pytest
import torch
from det_core import recipes, weights
from det_core.data import read_image
from det_core.errors import WeightsError
from det_core.predict import Detector
from det_core.weights.loading import load_into
from det_detectron2.importer.files import recipe_from_settings
from det_detectron2.layer.checkpoint import DetectionCheckpointer
from det_detectron2.layer.config import get_cfg
from det_detectron2.layer.data import DatasetCatalog, MetadataCatalog
from det_detectron2.layer.data.datasets import register_coco_instances
from det_detectron2.layer.engine import DefaultPredictor
from det_detectron2.layer.modeling.model import flat_settings
from det_detectron2.layer.structures import Boxes, Instances
from det_detectron2.layer.utils.visualizer import ColorMode, Visualizer
from det_devkit import coco_files
from safetensors.torch import save_file


@pytest.fixture
def cfg(tmp_path: Path):
    cfg = get_cfg()
    cfg.merge_from_list(
        [
            *("MODEL.DEVICE", "cpu", "MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "MODEL.RESNETS.DEPTH", 18),
            *("MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4", "res5"]),
            *("MODEL.FPN.IN_FEATURES", ["res2", "res3", "res4", "res5"], "MODEL.FPN.OUT_CHANNELS", 32),
            *("MODEL.RPN.IN_FEATURES", ["p2", "p3", "p4", "p5", "p6"], "MODEL.ROI_HEADS.NAME", "StandardROIHeads"),
            *("MODEL.ROI_HEADS.IN_FEATURES", ["p2", "p3", "p4", "p5"], "MODEL.ROI_HEADS.NUM_CLASSES", 2),
            *("MODEL.ANCHOR_GENERATOR.SIZES", [[8], [16], [32], [64], [128]], "MODEL.MASK_ON", True),
            *("MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead", "MODEL.ROI_BOX_HEAD.NUM_FC", 1),
            *("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", 7, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0),
            *("INPUT.MIN_SIZE_TEST", 96, "TEST.DETECTIONS_PER_IMAGE", 5),
        ]
    )
    torch.manual_seed(0)
    model = recipes.recipe_from_tree(recipe_from_settings(flat_settings(cfg)).tree).build_model()
    torch.save({"model": model.state_dict()}, tmp_path / "weights.pth")
    cfg.MODEL.WEIGHTS = str(tmp_path / "weights.pth")
    return cfg


def picture(folder: Path) -> np.ndarray:
    folder.mkdir()
    images, _ = coco_files.write(folder, coco_files.content())
    return read_image(next(Path(images).iterdir())).permute(1, 2, 0).numpy()


def test_default_predictor_predictions_equal_those_of_detector(cfg, tmp_path: Path) -> None:
    image = picture(tmp_path / "a")
    found = DefaultPredictor(cfg)(image[:, :, ::-1])["instances"]
    recipe = recipes.recipe_from_tree(recipe_from_settings(flat_settings(cfg)).tree)
    model = recipe.build_model()
    DetectionCheckpointer(model).load(cfg.MODEL.WEIGHTS)
    transforms = recipe.build_part("data.eval_transforms", list)
    expected = Detector(model, ["a", "b"], transforms, device="cpu")(image, threshold=0).detections
    assert len(found) == len(expected) > 0
    torch.testing.assert_close(found.pred_boxes.tensor, expected.boxes, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-6, rtol=1e-5)
    assert found.pred_masks.shape == (len(found), *image.shape[:2])
    assert found.pred_masks.dtype == torch.bool


def test_model_in_training_gives_losses_of_its_instances(cfg) -> None:
    predictor = DefaultPredictor(cfg)
    instances = Instances((64, 64), gt_boxes=Boxes([[8, 8, 40, 40]]), gt_classes=torch.tensor([1]))
    instances.gt_masks = torch.zeros(1, 64, 64, dtype=torch.bool)
    instances.gt_masks[0, 8:40, 8:40] = True
    losses = predictor.model.train()([{"image": torch.zeros(3, 64, 64), "instances": instances}])
    assert {"loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc"} == set(losses)
    sum(losses.values()).backward()
    assert any(each.grad is not None for each in predictor.model.parameters())


def test_checkpointer_file_has_the_layout_of_detectron2(cfg, tmp_path: Path) -> None:
    predictor = DefaultPredictor(cfg)
    checkpointer = DetectionCheckpointer(predictor.model, str(tmp_path / "out"))
    checkpointer.save("model_final", iteration=3)
    content = torch.load(tmp_path / "out/model_final.pth")
    assert "roi_heads.box_predictor.cls_score.weight" in content["model"]
    assert content["iteration"] == 3
    assert checkpointer.has_checkpoint()
    assert checkpointer.get_checkpoint_file().endswith("model_final.pth")


def test_registered_coco_set_is_listed_and_drawn(tmp_path: Path) -> None:
    images, annotations = coco_files.write(tmp_path, coco_files.content())
    name = f"layer_{tmp_path.name}"
    register_coco_instances(name, {}, str(annotations), str(images))
    records = DatasetCatalog.get(name)
    metadata = MetadataCatalog.get(name)
    assert metadata.thing_classes == ["dog", "cat"]
    assert all(Path(each["file_name"]).is_file() for each in records)
    record = next(each for each in records if each["annotations"])
    image = read_image(record["file_name"]).permute(1, 2, 0).numpy()
    drawn = Visualizer(image, metadata, scale=2).draw_dataset_dict(record).get_image()
    assert drawn.shape == (2 * image.shape[0], 2 * image.shape[1], 3)
    plain = Visualizer(image, metadata, scale=2).output.get_image()
    assert (drawn != plain).any()
    with pytest.raises(AssertionError, match="already registered"):
        register_coco_instances(name, {}, str(annotations), str(images))
    with pytest.raises(KeyError, match="is not registered"):
        DatasetCatalog.get("nothing")


def test_visualizer_predictions_over_grey_image(cfg, tmp_path: Path) -> None:
    image = picture(tmp_path / "a")
    found = DefaultPredictor(cfg)(image[:, :, ::-1])["instances"]
    visualizer = Visualizer(image, MetadataCatalog.get("coco_2017_val"), instance_mode=ColorMode.IMAGE_BW)
    drawn = visualizer.draw_instance_predictions(found)
    drawn.save(tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").stat().st_size > 0
    assert (drawn.get_image().max(axis=2) != drawn.get_image().min(axis=2)).any()


def test_metadata_of_published_sets_names_their_classes() -> None:
    assert MetadataCatalog.get("coco_2017_val").thing_classes[0] == "person"
    assert len(MetadataCatalog.get("keypoints_coco_2017_train").keypoint_names) == 17
    with pytest.raises(AttributeError, match="thing_classes"):
        _ = MetadataCatalog.get("nobody").thing_classes


def test_weights_go_both_ways(cfg, tmp_path: Path) -> None:
    predictor = DefaultPredictor(cfg)
    DetectionCheckpointer(predictor.model, str(tmp_path)).save("final", iteration=7)
    model = recipes.recipe_from_tree(recipe_from_settings(flat_settings(cfg)).tree).build_model()
    load_into(model, weights.read(tmp_path / "final.pth"), where="final.pth")
    save_file(model.state_dict(), tmp_path / "det.safetensors")
    cfg.MODEL.WEIGHTS = str(tmp_path / "det.safetensors")
    again = DefaultPredictor(cfg).model.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in predictor.model.state_dict().items())


def test_checkpoint_of_another_model_is_reported(cfg, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    predictor = DefaultPredictor(cfg)
    other = dict(predictor.model.state_dict())
    other["roi_heads.box_predictor.cls_score.weight"] = torch.zeros(7, 3)
    torch.save({"model": other}, tmp_path / "other.pth")
    DetectionCheckpointer(predictor.model).load(str(tmp_path / "other.pth"))
    assert "roi_heads.box_predictor.cls_score.weight" in caplog.text
    torch.save({"model": {"nothing": torch.zeros(1)}}, tmp_path / "strange.pth")
    with pytest.raises(WeightsError):
        DetectionCheckpointer(predictor.model).load(str(tmp_path / "strange.pth"))
