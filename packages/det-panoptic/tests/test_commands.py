"""`det train`, `det eval` and `det predict` on segments, end to end on files."""

import json

import panoptic_files
import pytest
import torch
from click.testing import CliRunner
from det_core import Detector
from det_core.cli.main import det
from det_core.structures import PanopticMap, Prediction, SemanticMap
from det_datasets.segment_files import to_coco_panoptic
from det_panoptic.data import CocoPanoptic
from det_panoptic.evaluation import PanopticQuality
from det_panoptic.segments import segments_of
from PIL import Image

RECIPE = """
model:
  type: det-panoptic/panoptic_fpn
  num_things: 2
  num_stuff: 2
  merging: {type: "det_panoptic.merging:Merging", stuff_area: 0}
  backbone:
    type: fpn
    out_channels: 16
    bottom_up: {type: torchvision, name: resnet18, strides: [4, 8, 16, 32]}
  roi_heads:
    type: standard_roi_heads
    box_head: {type: fast_rcnn_conv_fc_head, num_fc: 1, fc_dim: 16}
  mask_head: {type: mask_rcnn_conv_upsample_head, num_conv: 1, conv_dim: 8}
  sem_seg_head: {type: sem_seg_fpn_head, conv_dim: 32}
data:
  train: &own
    type: det-panoptic/coco_panoptic
    images: IMAGES
    annotations: ANNOTATIONS
    labels: LABELS
    semantic: stuff
    masks: true
  val: *own
  test: *own
  eval_transforms:
    - {type: "det_core.data:ResizeShortestEdge", size: 64}
  evaluators:
    - {type: det-panoptic/panoptic_quality}
    - {type: det-panoptic/stuff_iou, num_stuff: 2}
  workers: 0
train:
  steps: 8
  batch_size: 3
  optimizer: {type: "torch.optim:Adam", lr: 3.0e-3}
  device: cpu
  best_metric: panoptic/PQ
"""


def call(*arguments):
    result = CliRunner().invoke(det, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with a dataset, and a run that has learnt a little, so that it finds some stuff."""
    folder = tmp_path_factory.mktemp("segments")
    text = RECIPE
    for name, path in panoptic_files.write(folder / "data").items():
        text = text.replace(name.upper(), str(path))
    (folder / "recipe.yaml").write_text(text)
    call("train", folder / "recipe.yaml", "--output", folder / "run")
    return folder


def test_eval_of_run_reports_panoptic_quality(run):
    figures = json.loads(call("eval", run / "run", "--split", "val", "--json").stdout)["metrics"]
    assert {"panoptic/PQ", "panoptic/SQ", "panoptic/RQ", "panoptic/PQ_stuff"} <= figures.keys()
    assert 0 <= figures["panoptic/PQ"] <= 1


def test_predict_written_segments_are_read_unchanged(run, tmp_path):
    call("predict", run / "data" / "images", "--model", run / "run", "--output", tmp_path)
    assert all((tmp_path / f"{number}.png").exists() for number in range(3))
    files = {"annotations": tmp_path / "panoptic.json", "labels": tmp_path / "panoptic"}
    dataset, detector = CocoPanoptic(run / "data" / "images", **files), Detector.load(run / "run", device="cpu")
    assert len(dataset) == 3
    for index in range(3):
        wanted, found = detector(dataset.path(index)).prediction.panoptic, segments_of(dataset[index].targets)
        names = [dataset.classes[label] for label in found.labels]
        assert names == [panoptic_files.CLASSES[each["label"]] for each in wanted.segments]
        for place, each in enumerate(wanted.segments, 1):
            assert torch.equal(found.ids == place, wanted.ids == each["id"])


def test_writer_of_ground_truth_as_prediction_round_trips(tmp_path):
    given = panoptic_files.write(tmp_path / "given")
    dataset, content = CocoPanoptic(**given), json.loads(given["annotations"].read_text())
    (tmp_path / "labels").mkdir()
    entries = []
    for sample in (dataset[index] for index in range(len(dataset))):
        colors, entry = to_coco_panoptic(said(sample), sample.id, dataset.category_ids, f"{sample.id}.png")
        Image.fromarray(colors).save(tmp_path / "labels" / f"{sample.id}.png")
        entries.append(entry)
    (tmp_path / "again.json").write_text(json.dumps({**content, "annotations": entries}))
    again = CocoPanoptic(given["images"], tmp_path / "again.json", tmp_path / "labels")
    judge = PanopticQuality(dataset.classes)
    for index in range(len(dataset)):
        first, second = segments_of(dataset[index].targets), segments_of(again[index].targets)
        assert torch.equal(first.ids, second.ids)
        assert torch.equal(first.labels, second.labels)
        judge.update(Prediction(panoptic=said(again[index])), dataset[index])
    assert judge.result()["panoptic/PQ"] == judge.result()["panoptic/SQ"] == 1


def said(sample):
    """The truth of a sample as if a model had said it."""
    own = segments_of(sample.targets)
    rows = zip(own.labels.tolist(), own.things.tolist(), strict=True)
    segments = [{"id": place, "label": label, "is_thing": thing} for place, (label, thing) in enumerate(rows, 1)]
    return PanopticMap(ids=own.ids.int(), segments=segments)


def test_predict_of_semantic_model_writes_label_images(run, tmp_path):
    text = (run / "recipe.yaml").read_text()
    head = """
model:
  type: semantic_segmentor
  num_classes: 4
  backbone: {type: torchvision, name: resnet18, strides: [4, 8, 16]}
  sem_seg_head: {type: det-panoptic/deeplab_v3_plus_head, aspp_channels: 8, decoder_channels: 8, norm: BN}
data:"""
    text = head + text.partition("data:")[2].replace("semantic: stuff", "semantic: classes")
    text = (
        text.partition("  evaluators:")[0] + '  evaluators: [{type: "det_datasets.evaluators:MeanIoU"}]\n  workers: 0\n'
    )
    text += "train: {steps: 1, batch_size: 2, device: cpu, best_metric: semantic/mIoU}\n"
    (tmp_path / "pixels.yaml").write_text(text)
    call("train", tmp_path / "pixels.yaml", "--output", tmp_path / "run")
    call("predict", run / "data" / "images" / "0.png", "--model", tmp_path / "run", "--output", tmp_path / "seen")
    with Image.open(tmp_path / "seen" / "semantic" / "0.png") as picture:
        assert picture.size == panoptic_files.SIZE[::-1]
        assert picture.getextrema()[1] < 4
    semantic = Detector.load(tmp_path / "run", device="cpu")(run / "data" / "images" / "0.png").segments
    assert isinstance(semantic, SemanticMap)
