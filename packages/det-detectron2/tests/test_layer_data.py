"""`detectron2.data` and `detectron2.evaluation` on the blood cells."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from det_detectron2.layer.data import (
    DatasetCatalog,
    DatasetMapper,
    MetadataCatalog,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from det_detectron2.layer.data import detection_utils as utils
from det_detectron2.layer.data import transforms as T
from det_detectron2.layer.data.datasets import (
    convert_to_coco_json,
    load_coco_json,
    load_lvis_json,
    load_sem_seg,
    load_voc_instances,
)
from det_detectron2.layer.data.samplers import RepeatFactorTrainingSampler, TrainingSampler
from det_detectron2.layer.evaluation import (
    COCOEvaluator,
    DatasetEvaluators,
    LVISEvaluator,
    PascalVOCDetectionEvaluator,
    SemSegEvaluator,
    inference_on_dataset,
    print_csv_format,
)
from det_detectron2.layer.structures import Boxes, BoxMode, Instances
from layer_programs import small_cfg
from PIL import Image


def test_train_loader_gives_resized_images_with_instances(tmp_path: Path) -> None:
    cfg = small_cfg(tmp_path)
    batch = next(iter(build_detection_train_loader(cfg)))
    assert len(batch) == 2
    for each in batch:
        assert each["image"].shape == (3, 96, 128)
        assert each["instances"].image_size == (96, 128)
        assert (each["instances"].gt_boxes.tensor[:, 2] <= 128).all()
        assert "annotations" not in each
    tested = [each[0] for each in build_detection_test_loader(cfg, cfg.DATASETS.TEST[0])]
    assert [each["height"] for each in tested] == [480, 480]
    assert "instances" not in tested[0]


def test_mapper_with_own_augmentations_changes_boxes_alike(tmp_path: Path) -> None:
    cfg = small_cfg(tmp_path)
    record = DatasetCatalog.get(cfg.DATASETS.TRAIN[0])[0]
    plain = DatasetMapper(is_train=True, augmentations=[], image_format="RGB")(record)
    augmentations = [T.RandomFlip(prob=1.0), T.Resize((240, 320)), T.RandomBrightness(0.5, 1.5)]
    changed = DatasetMapper(is_train=True, augmentations=augmentations, image_format="RGB")(record)
    x0, y0, x1, y1 = plain["instances"].gt_boxes.tensor.unbind(dim=1)
    expected = torch.stack((640 - x1, y0, 640 - x0, y1), dim=1) / 2
    torch.testing.assert_close(changed["instances"].gt_boxes.tensor, expected)
    assert "annotations" in record


def test_image_of_another_size_is_an_error(tmp_path: Path) -> None:
    cfg = small_cfg(tmp_path)
    record = {**DatasetCatalog.get(cfg.DATASETS.TRAIN[0])[0], "width": 3}
    with pytest.raises(utils.SizeMismatchError, match=r"got \(640, 480\), expect \(3, 480\)"):
        DatasetMapper(cfg, True)(record)


def test_dataset_without_annotated_images_is_an_error(tmp_path: Path) -> None:
    name = f"empty_{tmp_path.name}"
    DatasetCatalog.register(name, lambda: [{"file_name": "a", "annotations": []}])
    with pytest.raises(AssertionError, match="No valid data found"):
        get_detection_dataset_dicts(name)
    with pytest.raises(KeyError, match="is not registered"):
        get_detection_dataset_dicts("nobody")


@pytest.mark.parametrize(
    "augmentation",
    [
        T.RandomCrop("relative", (0.5, 0.5)), T.RandomCrop("absolute_range", (20, 40)), T.RandomRotation([-30, 30]),
        T.RandomExtent((0.5, 1.5), (0.1, 0.1)), T.RandomContrast(0.5, 1.5), T.RandomSaturation(0.5, 1.5),
        T.RandomLighting(1.0), T.FixedSizeCrop((80, 80)), T.ResizeScale(0.5, 1.5, 64, 64), T.RandomResize([(32, 40)]),
        T.RandomApply(T.VFlipTransform(60), 0.5), T.ResizeShortestEdge([20, 30], 100, "choice"),
    ],
    ids=lambda augmentation: type(augmentation).__name__,
)  # fmt: skip
def test_augmentation_changes_image_and_labels_alike(augmentation) -> None:
    np.random.seed(0)
    inputs = T.AugInput(np.full((60, 50, 3), 100, np.uint8), sem_seg=np.ones((60, 50), np.uint8))
    transforms = inputs.apply_augmentations([augmentation])
    assert inputs.image.shape[:2] == inputs.sem_seg.shape
    assert inputs.image.dtype == np.uint8
    assert transforms.apply_coords(np.array([[5.0, 6.0]])).shape == (1, 2)


def test_augmentation_of_wrong_images_and_arguments_is_an_error() -> None:
    with pytest.raises(AssertionError, match="Got image of type int32"):
        T.AugInput(np.zeros((4, 4), np.int32))
    with pytest.raises(ValueError, match="Cannot do both"):
        T.RandomFlip(horizontal=True, vertical=True)
    with pytest.raises(ValueError, match="Unknown crop type"):
        T.RandomCrop("half", (1, 1))


def test_samplers_cover_all_and_repeat_rare_classes() -> None:
    assert sorted(itertools.islice(TrainingSampler(5, seed=1), 5)) == [0, 1, 2, 3, 4]
    records = [{"annotations": [{"category_id": 0}]}] * 9 + [{"annotations": [{"category_id": 1}]}]
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(records, 0.9)
    assert factors[-1] == pytest.approx(3.0)
    counts = list(itertools.islice(RepeatFactorTrainingSampler(factors, seed=0), 12))
    assert counts.count(9) == 3


def test_keypoints_change_sides_when_flipped() -> None:
    indices = utils.create_keypoint_hflip_indices(["keypoints_coco_2017_train"])
    points = np.arange(51).reshape(17, 3) + 1.0
    flipped = utils.transform_keypoint_annotations(points.copy(), T.HFlipTransform(100), (100, 100), indices)
    assert flipped[1, 0] == 100 - points[2, 0]
    with pytest.raises(ValueError, match="without providing flip indices"):
        utils.transform_keypoint_annotations(points, T.HFlipTransform(100), (100, 100))


def test_registered_functions_become_coco_files(tmp_path: Path) -> None:
    cfg = small_cfg(tmp_path)
    convert_to_coco_json(cfg.DATASETS.TRAIN[0], str(tmp_path / "out.json"))
    again = load_coco_json(str(tmp_path / "out.json"), "")
    before = DatasetCatalog.get(cfg.DATASETS.TRAIN[0])
    assert [each["bbox"] for each in again[0]["annotations"]] == [each["bbox"] for each in before[0]["annotations"]]


class _Perfect:
    """Predicts the objects of a data set."""

    def __init__(self, records) -> None:
        self.records = {each["image_id"]: each for each in records}

    def __call__(self, inputs):
        """Of each image its objects."""
        outputs = []
        for each in inputs:
            objects = self.records[each["image_id"]]["annotations"]
            boxes = [BoxMode.convert(own["bbox"], own["bbox_mode"], BoxMode.XYXY_ABS) for own in objects]
            found = Instances((each["height"], each["width"]), pred_boxes=Boxes(boxes))
            found.scores = torch.ones(len(boxes))
            found.pred_classes = torch.tensor([own["category_id"] for own in objects])
            outputs.append({"instances": found})
        return outputs


def test_coco_evaluation_of_the_objects_themselves_is_perfect(tmp_path: Path) -> None:
    cfg = small_cfg(tmp_path)
    name = cfg.DATASETS.TEST[0]
    loader = build_detection_test_loader(cfg, name)
    evaluators = DatasetEvaluators([COCOEvaluator(name, output_dir=str(tmp_path / "out"))])
    results = inference_on_dataset(_Perfect(DatasetCatalog.get(name)), loader, evaluators)
    assert results["bbox"]["AP"] == pytest.approx(100)
    assert results["bbox"]["AP-RBC"] == pytest.approx(100)
    assert json.loads((tmp_path / "out/coco_instances_results.json").read_text())[0]["category_id"] in (1, 2, 3)
    print_csv_format(results)


def test_lvis_evaluation_of_the_objects_themselves_is_perfect(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "1.jpg")
    content = {
        "images": [
            {"id": 1, "file_name": "1.jpg", "height": 30, "width": 40, "neg_category_ids": [5],
             "not_exhaustive_category_ids": []}
        ],
        "categories": [
            {"id": 3, "name": "a", "synonyms": ["a"], "frequency": "r", "image_count": 1},
            {"id": 5, "name": "b", "synonyms": ["b"], "frequency": "f", "image_count": 900},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "bbox": [2, 2, 10, 10], "area": 100,
             "segmentation": [[2, 2, 12, 2, 12, 12, 2, 12]]}
        ],
    }  # fmt: skip
    (tmp_path / "lvis.json").write_text(json.dumps(content))
    name = f"lvis_{tmp_path.name}"
    DatasetCatalog.register(name, lambda: load_lvis_json(str(tmp_path / "lvis.json"), str(tmp_path), name))
    DatasetCatalog.get(name)
    assert MetadataCatalog.get(name).class_frequency[0]["frequency"] == "r"
    evaluator = LVISEvaluator(name, tasks=("bbox",))
    records = DatasetCatalog.get(name)
    assert records[0]["neg_category_ids"] == [1]
    evaluator.reset()
    evaluator.process(records, _Perfect(records)(records))
    assert evaluator.evaluate()["bbox"]["APr"] == pytest.approx(100)


def test_voc_files_are_read_and_evaluated(tmp_path: Path) -> None:
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (tmp_path / folder).mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(tmp_path / "JPEGImages/a.jpg")
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\n")
    (tmp_path / "Annotations/a.xml").write_text(
        "<annotation><size><width>40</width><height>30</height><depth>3</depth></size><object><name>cat</name>"
        "<difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
        "</annotation>"
    )
    name = f"voc_{tmp_path.name}"
    DatasetCatalog.register(name, lambda: load_voc_instances(str(tmp_path), "train", ["cat"]))
    MetadataCatalog.get(name).set(thing_classes=["cat"], year=2007)
    records = DatasetCatalog.get(name)
    assert records[0]["annotations"][0]["bbox"] == [0.0, 1.0, 9.0, 9.0]
    evaluator = PascalVOCDetectionEvaluator(name)
    evaluator.process(records, _Perfect(records)(records))
    assert evaluator.evaluate()["bbox"]["AP50"] == pytest.approx(100)


def test_semantic_evaluation_counts_pixels(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    labels = np.array([[0, 0], [1, 255]], np.uint8)
    Image.fromarray(labels).save(tmp_path / "labels/a.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "images/a.jpg")
    name = f"stuff_{tmp_path.name}"
    DatasetCatalog.register(name, lambda: load_sem_seg(str(tmp_path / "labels"), str(tmp_path / "images")))
    MetadataCatalog.get(name).set(stuff_classes=["x", "y"], ignore_label=255)
    evaluator = SemSegEvaluator(name)
    evaluator.process(DatasetCatalog.get(name), [{"sem_seg": torch.tensor([[[1.0, 0], [0, 0]], [[0, 1.0], [1, 1]]])}])
    results = evaluator.evaluate()["sem_seg"]
    assert results["pACC"] == pytest.approx(100 * 2 / 3)
    assert results["IoU-x"] == pytest.approx(50)
    assert results["mIoU"] == pytest.approx(50)
