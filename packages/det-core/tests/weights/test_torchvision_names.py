"""torchvision's detectors and classifiers, and timm's residual networks, load by their own names and say the same."""

import re

import pytest
import torch
from det_core import recipes
from det_core.backbones import ResNet
from det_core.errors import WeightsError
from det_core.structures import ImageBatch
from det_core.weights import load_into
from det_core.weights.upgrades import upgraded
from det_core.zoo import TORCHVISION, published
from det_core.zoo.class_names import COCO_CATEGORY_IDS
from torchvision.models import get_model
from torchvision.models.detection._utils import overwrite_eps

RECIPES = TORCHVISION["torchvision"]
SIZE = (128, 256)  # torchvision lays the anchors of levels that do not divide the image a little closer together
IMAGE = torch.randint(0, 256, (3, *SIZE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
PROPOSALS, FOUND = 200, 25
NORMS = ("running_mean", "running_var")


# Last layers, and the mean and spread of what they say once they are trained.
SAID = {
    "rpn.head.cls_logits": (0.0, 2.0),
    "rpn.head.bbox_pred": (0.0, 0.2),
    "roi_heads.box_predictor.cls_score": (0.0, 2.0),
    "roi_heads.box_predictor.bbox_pred": (0.0, 0.5),
    "roi_heads.mask_predictor.mask_fcn_logits": (0.0, 2.0),
    "roi_heads.keypoint_predictor.kps_score_lowres": (0.0, 2.0),
    "head.classification_head.cls_logits": (-3.0, 1.0),
    "head.regression_head.bbox_reg": (0.5, 0.3),
    "head.regression_head.bbox_ctrness": (0.0, 1.0),
}


@torch.no_grad()
def theirs(name):
    """torchvision's model with random weights that find something, in the state that its published files are for."""
    torch.manual_seed(0)
    few = {"rpn_post_nms_top_n_test": PROPOSALS, "box_detections_per_img": FOUND} if "rcnn" in name else {}
    model = get_model(name, weights=None, weights_backbone=None, min_size=SIZE[0], max_size=SIZE[1], **few).eval()
    randomise_norms(model)
    if not name.endswith("_v2") and not name.startswith("fcos"):
        overwrite_eps(model, 0.0)
    handles = [model.get_submodule(layer).register_forward_hook(calibrated(*SAID[layer])) for layer in present(model)]
    model([IMAGE / 255])
    for handle in handles:
        handle.remove()
    silence(model, [number for number in range(1, 91) if number not in COCO_CATEGORY_IDS])
    return model


def present(model):
    return [name for name, _ in model.named_modules() if name in SAID]


def calibrated(mean, spread):
    """A hook that scales a layer so that its first output, that of the largest level, has this mean and spread."""
    done = set()

    def scale(layer, given, made):
        if layer in done:
            return None
        done.add(layer)
        factor = spread / made.std()
        shift = mean - made.mean() * factor
        layer.weight.mul_(factor)
        layer.bias.mul_(factor).add_(shift)
        return made * factor + shift

    return scale


def randomise_norms(model):
    for key, value in model.named_buffers():
        if key.endswith(NORMS):
            value.copy_(0.5 + torch.rand_like(value) if key.endswith("var") else 0.1 * torch.randn_like(value))


def silence(model, unused):
    """Nobody finds the classes that COCO has given up, nor the background of a model of one stage."""
    if hasattr(model, "roi_heads"):
        bias = model.roi_heads.box_predictor.cls_score.bias
        bias[[number for number in unused if number < len(bias)]] = -1e4
    else:
        model.head.classification_head.cls_logits.bias.unflatten(0, (-1, 91))[:, [0, *unused]] = -1e4


def ours(recipe, other, **overrides):
    model = recipes.load(recipe, [f"{key}={value}" for key, value in overrides.items()]).build_model()
    report = load_into(model, other.state_dict(), "file.pth")
    assert report.upgrades == ("torchvision's names of detectors",)
    assert not report.unused
    assert not report.not_loaded
    return model.eval()


@pytest.mark.parametrize(("recipe", "name"), RECIPES.items())
def test_every_tensor_of_a_detector_has_its_place(recipe, name):
    with torch.device("meta"):
        state = get_model(name, weights=None, weights_backbone=None).state_dict()
        model = recipes.load(recipe).build_model()
    found, applied = upgraded(state, model)
    assert applied == ["torchvision's names of detectors"]
    shapes = [
        {key: value.shape for key, value in each.items() if "num_batches" not in key}
        for each in (found, model.state_dict())
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("recipe", "name"), RECIPES.items())
@torch.no_grad()
def test_torchvision_detector_weights_give_torchvision_detections(recipe, name):
    other = theirs(name)
    few = {
        "model.proposal_generator.post_nms_topk_test": PROPOSALS,
        "model.roi_heads.box_predictor.max_detections": FOUND,
    }
    model = ours(recipe, other, **(few if "rcnn" in name else {}))
    logits = []
    if name.startswith("mask"):
        other.roi_heads.mask_predictor.register_forward_hook(lambda module, given, made: logits.append(made))
    [expected] = other([IMAGE / 255])
    found = model(ImageBatch.stack([IMAGE]))[0].detections
    shown = (expected["boxes"][:, 2:] > expected["boxes"][:, :2]).all(1)  # ours drop boxes outside of the image
    expected = {key: value[shown] for key, value in expected.items()}
    assert len(expected["labels"]) >= 10
    assert len(found) == len(expected["labels"])
    # Each of ours is theirs, though two of nearly the same score may have changed places.
    same = torch.tensor(COCO_CATEGORY_IDS)[found.labels][:, None] == expected["labels"]
    distance = (found.boxes[:, None] - expected["boxes"]).abs().amax(2) + 1e3 * ~same
    nearest, row = distance.min(1)
    assert nearest.max() < 0.1
    assert len(row.unique()) == len(row)
    torch.testing.assert_close(found.scores, expected["scores"][row], rtol=1e-3, atol=1e-3)
    if name.startswith("mask"):
        masks = logits[0][torch.arange(len(row)), expected["labels"]].sigmoid()
        torch.testing.assert_close(found.masks, masks[row], rtol=1e-3, atol=2e-3)
    if name.startswith("keypoint"):
        distance = (found.keypoints[..., :2] - expected["keypoints"][row, :, :2]).norm(dim=-1)
        assert (distance < 0.1).float().mean() > 0.98


def test_torchvision_older_files_without_layer_groups_load():
    other = theirs("maskrcnn_resnet50_fpn")
    state = other.state_dict()
    older = {}
    for key, value in state.items():
        key = re.sub(r"(fpn\.\w+_blocks\.\d)\.0\.", r"\1.", key)
        key = re.sub(r"rpn\.head\.conv\.0\.0\.", "rpn.head.conv.", key)
        key = re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", key)
        older[key] = value
    assert older.keys() != state.keys()
    with torch.device("meta"):
        model = recipes.load("torchvision_maskrcnn_resnet50_fpn").build_model()
    new, old = upgraded(state, model)[0], upgraded(older, model)[0]
    assert new.keys() == old.keys()
    assert all(torch.equal(new[key], old[key]) for key in new)


def test_detector_of_other_classes_loses_its_background_alone():
    other = theirs_of_three()
    model = ours("torchvision_fasterrcnn_resnet50_fpn", other, **{"model.num_classes": 3})
    predictor = other.roi_heads.box_predictor
    assert torch.equal(model.roi_heads.box_predictor.cls_score.weight, predictor.cls_score.weight[[1, 2, 3, 0]])
    assert torch.equal(model.roi_heads.box_predictor.bbox_pred.weight, predictor.bbox_pred.weight[4:])


def theirs_of_three():
    torch.manual_seed(0)
    return get_model("fasterrcnn_resnet50_fpn", weights=None, weights_backbone=None, num_classes=4)


def test_weights_of_another_detector_are_refused():
    with torch.device("meta"):
        model = recipes.load("torchvision_retinanet_resnet50_fpn").build_model()
    with pytest.raises(WeightsError, match="does not fit DenseDetector"):
        load_into(model, theirs_of_three().state_dict(), "file.pth")


def test_they_are_among_the_published_models():
    model = published.of_recipe("torchvision_maskrcnn_resnet50_fpn")
    assert model.name == "torchvision/maskrcnn_resnet50_fpn"
    assert model.reported == {"box AP": 37.9, "mask AP": 34.6}
    assert recipes.load(model.name).tree["weights"]["source"] == model.weights


@pytest.mark.parametrize("depth", [18, 50])
@torch.no_grad()
def test_classifier_of_torchvision_fits_a_resnet(depth):
    torch.manual_seed(0)
    require_same_features(get_model(f"resnet{depth}", weights=None), depth)


@pytest.mark.parametrize("depth", [34, 50])
@torch.no_grad()
def test_classifier_of_timm_fits_a_resnet(depth):
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    require_same_features(timm.create_model(f"resnet{depth}", pretrained=False), depth)


@torch.no_grad()
def test_resnext_of_timm_fits_too():
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    network = timm.create_model("resnext50_32x4d", pretrained=False)
    require_same_features(network, 50, groups=32, width_per_group=4)


def test_torchvision_network_with_another_stem_refused_by_layer_names():
    state = get_model("resnet50", weights=None).state_dict()
    deep = {
        key.replace("conv1.weight", "conv1.0.weight") if key == "conv1.weight" else key: state[key] for key in state
    }
    with pytest.raises(WeightsError, match=r"1 tensor missing: stem\.conv1\.weight \(near stem\.conv1\.0\.weight\)"):
        load_into(ResNet(50, stride_in_1x1=False), deep, "resnet50d.pth", allow_unused=True)


def require_same_features(network, depth, **options):
    randomise_norms(network)
    network.eval()
    model = ResNet(depth, stride_in_1x1=False, **options).eval()
    report = load_into(model, network.state_dict(), "file.pth", allow_unused=True)
    assert report.upgrades == ("torchvision's names of residual networks",)
    assert report.unused == ("fc.weight", "fc.bias")
    pixels = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    found = model(pixels)
    expected = {}
    for i, stage in enumerate((network.layer1, network.layer2, network.layer3, network.layer4)):
        stage.register_forward_hook(lambda module, given, made, i=i: expected.update({f"res{i + 2}": made}))
    network(pixels)
    for name, level in found.items():
        torch.testing.assert_close(level, expected[name], rtol=1e-3, atol=1e-3 * float(expected[name].std()))
