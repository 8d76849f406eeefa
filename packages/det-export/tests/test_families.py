"""Every architecture as a program: what a file of its narrow version computes is what the model does."""

import narrow_models
import pytest
import torch
from counting import require_counts
from det_core import recipes
from det_core.errors import ConfigError
from det_core.plugins import registry
from det_core.structures import ImageBatch
from det_export.obstacles import obstacle

REFUSED = ("Rotated Faster R-CNN",)
FORMATS = ("torch_export", "onnx")
COUNTED = ("RetinaNet", "Keypoint R-CNN FPN", "Cascade R-CNN FPN", "TridentNet", "DensePose charts")


def exporter_of(form):
    return registry.find("exporters", form, "test").load()()


def require_agreement(name, form, tmp_path):
    size = narrow_models.example_of(name)
    example = ImageBatch(pixels=torch.zeros(1, 3, *size, dtype=torch.uint8), sizes=(size,))
    model = narrow_models.built(name, narrow_models.seed_of(name))
    exporter = exporter_of(form)
    path = exporter.export(model, example, tmp_path / "model")
    agreement = narrow_models.agreement_of(model, exporter.load(path), path, narrow_models.others_of(name))
    assert agreement.agrees, agreement


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", [name for name in narrow_models.MODELS if name not in REFUSED])
def test_family_of_all_other_sizes_agree(name, form, tmp_path):
    require_agreement(name, form, tmp_path)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", REFUSED)
def test_family_that_no_graph_holds_refused_with_the_operator(name, form, tmp_path):
    model = narrow_models.built(name)
    found = obstacle(model)
    example = ImageBatch(pixels=torch.zeros(1, 3, 192, 224, dtype=torch.uint8), sizes=((192, 224),))
    with pytest.raises(ConfigError, match=found.operator):
        exporter_of(form).export(model, example, tmp_path / "model")


def test_obstacle_of_a_rotated_proposal_network_is_its_suppression():
    generator = {"anchor_generator": {"angles": [[0, 45]]}, "box_weights": [1.0, 1.0, 1.0, 1.0, 1.0]}
    tree = {"extends": "rpn_r50_c4_1x", "model": {"num_classes": 1, "proposal_generator": generator}}
    with torch.device("meta"):
        model = recipes.recipe_from_tree(tree).build_model()
    assert obstacle(model).operator == "rotated suppression"


def test_obstacle_of_exportable_model_is_none():
    assert obstacle(narrow_models.built("RPN FPN")) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTED)
def test_counts_none_one_and_many_as_the_model(name, tmp_path):
    require_counts(narrow_models.built(name), narrow_models.EXAMPLE, narrow_models.OTHERS[0], tmp_path)
