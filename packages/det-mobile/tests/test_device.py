"""Trunk, heads and host code predict what the model predicts, and files of ExecuTorch what they do."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from det_core.errors import CheckpointError, ConfigError, DataError
from det_core.structures import ImageBatch
from det_mobile.device import host
from det_mobile.device.parts import DeviceModel, obstacle
from small import BLOCKS, built, c4_tree, images, pyramid

SIZE = (96, 128)
FEW = {"nms": {"score_threshold": 0.2, "max_detections": 10}}
PROPOSALS = {"pre_nms_topk_test": 50, "post_nms_topk_test": 12}


def c4():
    tree = c4_tree(box_predictor=FEW)
    tree["proposal_generator"]["nms"] = PROPOSALS
    return tree


def two_stage_pyramid():
    heads = {"pooler": {"resolution": 3, "sampling_ratio": 2}, "box_predictor": {**FEW, "class_agnostic": True}}
    heads["box_head"] = {"type": "fast_rcnn_conv_fc_head", "num_fc": 1, "fc_dim": 16}
    order = {"mean": [103.53, 116.28, 123.675], "channel_order": "BGR"}
    return {
        "type": "faster_rcnn",
        "num_classes": 2,
        "preprocess": {"type": "normalize", **order},
        "backbone": pyramid(top=None),
        "proposal_generator": {"type": "rpn", "nms": PROPOSALS},
        "roi_heads": heads,
    }


def dense(head):
    tower = {"conv_dims": [16], "norm": "BN"}
    head = {"tower": tower, "prior_probability": 0.3, "nms": {"max_detections": 10}, **head}
    return {"type": "dense_detector", "num_classes": 2, "backbone": pyramid(top=None), "head": head}


DETECTORS = {
    "c4": c4(),
    "pyramid": two_stage_pyramid(),
    "retinanet": dense({"type": "retinanet_head"}),
    "fcos": dense({"type": "fcos_head", "nms": {"score_threshold": 0.05, "max_detections": 200}}),
}


def model_of(name):
    """With norms that differ from the identity."""
    model = built(DETECTORS[name]).eval()
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    if name == "fcos":
        torch.nn.init.ones_(model.head.bbox_pred.bias)  # distances above 0
    return model


def assert_same(one, other, bound=1e-3):
    assert len(one) == len(other) > 0
    assert torch.equal(one.labels, other.labels)
    assert float((one.scores - other.scores).abs().max()) < 1e-4
    assert float((one.boxes - other.boxes).abs().max()) < bound


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("size", [SIZE, (70, 101)])
def test_methods_and_host_code_predict_as_the_model(name, size):
    model = model_of(name)
    device = DeviceModel(model, SIZE)
    methods = {method: module for method, (module, _) in device.methods().items()}
    settings = json.loads(json.dumps(device.settings))

    def run(method, inputs):
        return [each.numpy() for each in methods[method](*map(torch.from_numpy, inputs))]

    pixels = torch.zeros(1, 3, *SIZE, dtype=torch.uint8)
    pixels[:, :, : size[0], : size[1]] = images(1, size).pixels
    with torch.inference_mode():
        expected = model(ImageBatch(pixels=pixels, sizes=(size,)))[0].detections
        picture = host.entering(pixels[0, :, : size[0], : size[1]].permute(1, 2, 0).numpy(), settings)
        boxes, scores, labels = host.detect(run, picture, size, settings)
    found = type(expected)(
        boxes=torch.from_numpy(boxes), labels=torch.from_numpy(labels), scores=torch.from_numpy(scores), size=size
    )
    assert_same(expected, found)


def test_picture_larger_than_the_file_is_refused():
    settings = DeviceModel(model_of("c4"), SIZE).settings
    with pytest.raises(ValueError, match=r"97 x 20 pixels.*up to 96 x 128"):
        host.entering(np.zeros((97, 20, 3), np.uint8), settings)


def test_indivisible_size_is_refused_with_the_next():
    with pytest.raises(ConfigError, match="--size 112 128"):
        DeviceModel(model_of("pyramid"), (100, 128))


def test_obstacles_are_named():
    masks = {**c4_tree(), "type": "mask_rcnn", "mask_head": {"type": "det-mobile/fbnet_mask_head", "blocks": BLOCKS}}
    masks["mask_head"]["in_features"] = ["trunk3"]
    assert obstacle(built(masks)) == "mask_head (FBNetMaskHead)"
    rotated = c4_tree(pooler={"resolution": 6, "pooling": "ROIAlignRotated"}, box_predictor={"box_weights": [1.0] * 5})
    rotated["proposal_generator"]["box_weights"] = [1.0] * 5
    rotated["proposal_generator"]["anchor_generator"] = {"sizes": [[16, 32]], "angles": [[0]]}
    assert obstacle(built(rotated)) == "ROIAlignRotated"
    assert all(obstacle(built(tree)) == "" for tree in DETECTORS.values())


def exporter(**options):
    pytest.importorskip("executorch")
    from det_mobile.device.exporter import ExecuTorchExporter

    return ExecuTorchExporter(**options)


def test_exporter_refuses_free_sizes_and_masks_at_once(tmp_path):
    with pytest.raises(ConfigError, match=r"files are for one size.*--size H W"):
        exporter(dynamic=True)
    masks = {**c4_tree(), "type": "mask_rcnn", "mask_head": {"type": "det-mobile/fbnet_mask_head", "blocks": BLOCKS}}
    masks["mask_head"]["in_features"] = ["trunk3"]
    with pytest.raises(ConfigError, match="no form of fixed shapes for mask_head"):
        exporter().export(built(masks), images(1), tmp_path / "masks")


class Odd(torch.nn.Module):
    """Computes what the runtime has no kernel for."""

    def forward(self, x):
        return torch.linalg.eigvalsh(x @ x.T)


def test_operator_without_a_kernel_is_named_before_lowering():
    pytest.importorskip("executorch")
    from det_mobile.device.lowering import lowered

    with pytest.raises(ConfigError, match=r"no kernel.*_linalg_eigh in trunk"):
        lowered({"trunk": (Odd(), (torch.eye(3),))})


@pytest.fixture(scope="module")
def folder_of_files(tmp_path_factory):
    return tmp_path_factory.mktemp("pte")


def written(name, folder):
    path = folder / f"{name}.pte"
    return path if path.exists() else exporter().export(model_of(name), images(1), path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", DETECTORS)
def test_file_predicts_as_the_model(name, folder_of_files):
    loaded, model = exporter().load(written(name, folder_of_files)), model_of(name)
    with torch.inference_mode():
        assert_same(*(each(images(1))[0].detections for each in (model, loaded)))
    with pytest.raises(ConfigError, match=r"up to \(96, 128\)"):
        loaded(images(1, (97, 128)))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_damaged_file_is_refused_before_the_runtime_opens_it(folder_of_files, tmp_path):
    file = written("c4", folder_of_files)
    content, about = file.read_bytes(), json.loads(file.with_name("c4.pte.json").read_text())
    path = tmp_path / "c4.pte"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"c4\.pte\.json"):
        exporter().load(path)
    beside = tmp_path / "c4.pte.json"
    beside.write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match=r"damaged, or another file.*instead of"):
        exporter().load(path)
    path.write_bytes(content)
    about["device"]["proposals"]["anchors"] = ["many"]
    beside.write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match="does not describe it"):
        exporter().load(path)


def test_report_of_int8_names_pictures_beyond_the_calibrated_ranges():
    pytest.importorskip("executorch")
    from det_mobile.device.exporter import _detector_on
    from det_mobile.device.int8 import quantized

    device = DeviceModel(model_of("c4"), SIZE)
    size = torch.tensor([SIZE])
    light, dark = (images(1, SIZE).pixels, size), (images(1, SIZE).pixels // 16 + 100, size)
    arguments = (device.networks, device.inputs_of_networks(), [dark], partial(_detector_on, device))
    networks, report = quantized(*arguments, [light])
    assert networks.keys() == {"trunk", "heads"}
    assert report.pictures == 1
    assert {layer.name.split(".")[0] for layer in report.layers} == {"trunk", "heads"}
    assert "unlike those of the calibration" in report.problems()[0]
    assert not quantized(*arguments, [dark])[1].problems()
    with pytest.raises(DataError, match="no pictures to calibrate on"):
        quantized(*arguments[:2], [], arguments[3])


def test_int8_head_of_several_levels_has_int8_weights():
    pytest.importorskip("executorch")
    from det_mobile.device.exporter import _detector_on
    from det_mobile.device.int8 import quantized

    device = DeviceModel(model_of("pyramid"), SIZE)
    pictures = [(images(1, SIZE).pixels, torch.tensor([SIZE]))]
    networks, _ = quantized(device.networks, device.inputs_of_networks(), pictures, partial(_detector_on, device))
    convolutions = [each for each in networks["trunk"].graph.nodes if "conv2d" in str(each.target)]
    assert len(convolutions) > 3 * 3
    for node in convolutions:
        assert all("dequantize" in str(argument.target) for argument in node.args[:2]), node


def test_int8_range_after_relu6_is_that_of_its_output():
    pytest.importorskip("executorch")
    from det_mobile.device.int8 import quantized

    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.ReLU6(), torch.nn.Conv2d(4, 4, 1))
    torch.nn.init.constant_(network[0].weight, 100.0)
    picture = torch.linspace(-1, 1, 3 * 8 * 8).reshape(1, 3, 8, 8)
    networks, _ = quantized(
        {"trunk": network}, {"trunk": (picture,)}, [picture], lambda current: lambda each: current["trunk"](each)
    )
    nodes = networks["trunk"].graph.nodes
    quantizing = [each for each in nodes if "quantized_decomposed.quantize_per_tensor" in str(each.target)]
    [scale] = [each.args[1] for each in quantizing if "hardtanh" in str(each.args[0])]
    assert scale == pytest.approx(6 / 255, rel=0.02)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["c4", "pyramid"])
def test_int8_file_predicts_most_boxes_of_the_model(tmp_path, name):
    from det_core.ops.boxes import iou
    from PIL import Image

    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no folder with images"):
        exporter(precision="int8", calibrate=tmp_path / "empty").export(model_of(name), images(1), tmp_path / "none")
    (tmp_path / "photos").mkdir()
    batch = images(1)
    Image.fromarray(batch.pixels[0].permute(1, 2, 0).numpy()).save(tmp_path / "photos" / "a.png")
    written = exporter(precision="int8", calibrate=tmp_path / "photos").export(model_of(name), batch, tmp_path / "file")
    assert json.loads(written.with_name("file.pte.json").read_text())["facts"]["precision"] == "int8"
    with torch.inference_mode():
        expected = model_of(name)(batch)[0].detections
        detected = exporter().load(written)(batch)[0].detections
    assert (iou(expected.boxes, detected.boxes).amax(1) > 0.5).float().mean() >= 0.7
