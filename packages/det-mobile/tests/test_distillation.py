"""A student learns from a teacher, and its checkpoint is its own."""

import json
from types import SimpleNamespace

import pytest
import torch
from det_core.engine import read_checkpoint, train
from det_core.errors import ConfigError
from det_core.recipes import recipe_from_tree
from det_core.structures import Detections, Prediction, Targets
from det_mobile.distillation import AdapterState, Imitation, Logits, PseudoBoxes
from small import built, c4_tree, images, objects, pyramid, subclass_file, teacher

FEATURES = {"levels": {"trunk3": "p4"}, "channels": 12}


def distilled(student=None, source=None, **taught):
    taught_by = source or teacher()
    tree = {"type": "det-mobile/distilled", "student": student or c4_tree(), "teacher": taught_by}
    return built({**tree, **taught})


def losses_of(model):
    return model.train()(images(), [objects(), objects()])


def test_student_losses_include_those_taught():
    model = distilled(features=FEATURES, logits={"regions": 8})
    names = {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg", "loss_imitation", "loss_logits"}
    losses = losses_of(model)
    assert losses.keys() == names
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.adapters.parameters())


def test_checkpoint_of_a_student_has_its_names_alone():
    model, alone = distilled(features=FEATURES), built(c4_tree())
    assert model.state_dict().keys() == alone.state_dict().keys()
    names = {name for name, _ in model.named_parameters()}
    assert names - alone.state_dict().keys() == {"adapters.trunk3.weight", "adapters.trunk3.bias"}
    alone.load_state_dict(model.state_dict())
    with torch.inference_mode():
        mine, theirs = (each.eval()(images(1))[0].detections for each in (model, alone))
    assert torch.equal(mine.boxes, theirs.boxes)
    assert model.exported().model is model.student


def test_step_moves_the_student_alone():
    model = distilled(features=FEATURES)
    large = model.teacher.model(2, torch.device("cpu"))
    before = [each.clone() for each in large.state_dict().values()]
    own = next(model.student.parameters()).clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sum(losses_of(model).values()).backward()
    optimizer.step()
    assert not torch.equal(own, next(model.student.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(before, large.state_dict().values(), strict=True))


def test_student_of_another_family_learns_features_and_boxes():
    student = {
        "type": "dense_detector",
        "num_classes": 2,
        "backbone": pyramid(top="convolutions"),
        "head": {"type": "retinanet_head"},
    }
    taught = {"features": {"levels": {"p4": "p4"}, "channels": 12}, "pseudo_boxes": {"threshold": 0.0}}
    losses = losses_of(distilled(student, **taught))
    assert losses.keys() == {"loss_cls", "loss_box_reg", "loss_imitation"}
    with pytest.raises(ConfigError, match="two detectors with boxes of regions"):
        losses_of(distilled(student, logits={}))


def test_imitation_of_scaled_maps_is_zero():
    taught, maps = Imitation({"a": "b"}, 3), torch.randn(2, 3, 4, 5)
    adapters = taught.adapters({"a": 3})
    torch.nn.init.dirac_(adapters["a"].weight)
    torch.nn.init.zeros_(adapters["a"].bias)
    assert float(taught.loss(adapters, {"a": maps}, {"b": 7 * maps + 2})) == pytest.approx(0, abs=1e-6)
    # Half of the mean square of twice a map whose 40 places per channel have deviation 1 with 39 degrees of freedom.
    assert float(taught.loss(adapters, {"a": maps}, {"b": -maps})) == pytest.approx(2 * 39 / 40, rel=1e-4)


def test_loss_of_equal_logits_is_zero():
    logits, wanted = Logits(temperature=3.0), torch.randn(5, 4)
    assert float(logits._softmax(wanted + 1, wanted)) == pytest.approx(0, abs=1e-6)
    assert float(logits._sigmoid(wanted, wanted)) == pytest.approx(0, abs=1e-6)
    # Two classes, one region: 0.5 log(0.5 / p) + 0.5 log(0.5 / (1 - p)) with p = sigmoid(2 / 2), times 2 squared.
    p = torch.tensor(1.0).sigmoid()
    expected = 4 * (0.5 * (0.5 / p).log() + 0.5 * (0.5 / (1 - p)).log())
    found = Logits(temperature=2.0)._softmax(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2))
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def predicted(*scores):
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0], [20.0, 0.0, 30.0, 10.0]])[: len(scores)]
    labels = torch.arange(len(scores))
    return Prediction(detections=Detections(boxes=boxes, labels=labels, scores=torch.tensor(scores), size=(64, 64)))


def test_pseudo_boxes_add_new_boxes_above_the_threshold():
    given = Targets(boxes=torch.tensor([[0.0, 0.0, 10.0, 11.0]]), labels=torch.tensor([5]))
    (found,) = PseudoBoxes(0.7).targets([given], [predicted(0.9, 0.8, 0.6)])
    assert found.labels.tolist() == [5, 1]
    assert found.boxes[1].tolist() == [50, 50, 60, 60]
    (found,) = PseudoBoxes(0.7, mode="replace").targets([given], [predicted(0.9, 0.8, 0.6)])
    assert found.labels.tolist() == [0, 1]


def test_pseudo_boxes_of_objects_with_masks_are_refused():
    given = Targets(boxes=torch.zeros(1, 4), labels=torch.zeros(1, dtype=torch.long), masks=torch.zeros(1, 8, 8) > 0)
    with pytest.raises(ConfigError, match="boxes alone"):
        PseudoBoxes().targets([given], [predicted(0.9)])


@pytest.mark.parametrize(
    ("taught", "problem"),
    [
        ({}, "teaches nothing"),
        ({"features": {"levels": {"trunk9": "p4"}, "channels": 12}}, "levels of the student"),
        ({"features": {"levels": {"trunk3": "p4"}, "channels": [12, 3]}}, "positive number for each level"),
        ({"logits": {"temperature": 0.0}}, "positive temperature"),
        ({"pseudo_boxes": {"threshold": 1.5}}, "from 0 to 1"),
    ],
)
def test_wrong_arguments_are_refused_before_the_teacher_is_needed(taught, problem):
    with pytest.raises(ConfigError, match=problem):
        distilled(source={"source": "nowhere.safetensors"}, **taught)


@pytest.mark.parametrize(
    ("features", "problem"),
    [
        ({"levels": {"trunk3": "p9"}, "channels": 12}, "no level 'p9'.*p2, p3, p4"),
        ({"levels": {"trunk3": "p4"}, "channels": 13}, "not 13.*p4 has 12"),
    ],
)
def test_levels_of_another_teacher_are_refused(features, problem):
    with pytest.raises(ConfigError, match=problem):
        losses_of(distilled(features=features))


def test_teacher_of_other_classes_is_refused():
    with pytest.raises(ConfigError, match=r"3 classes of the student.*2"):
        losses_of(distilled({**c4_tree(), "num_classes": 3}, features=FEATURES))


class Interrupt:
    """A callback that ends a training at a step."""

    def __init__(self, step):
        self.step = step

    def after_step(self, trainer, scalars):
        if trainer.step == self.step:
            raise ConfigError("Interrupt", "ends the training")


def run_of_student(tmp_path, callbacks):
    """A recipe that distills the features of a teacher into a student, on an image of two classes."""
    extras = [{"category_id": 7}, {"category_id": 8}, {"category_id": 8}]
    path = subclass_file(tmp_path, *extras)
    content = json.loads(path.read_text())
    content["categories"].append({"id": 8, "name": "plate"})
    path.write_text(json.dumps(content))
    model = {"type": "det-mobile/distilled", "student": c4_tree(), "teacher": teacher(), "features": FEATURES}
    tree = {
        "model": model,
        "data": {"train": {"type": "coco", "images": str(tmp_path), "annotations": str(path)}, "workers": 0},
        "train": {
            "steps": 4,
            "batch_size": 1,
            "device": "cpu",
            "seed": 3,
            "checkpoint_every": 1,
            "optimizer": {"type": "torch.optim:SGD", "lr": 0.1, "momentum": 0.9},
            "callbacks": callbacks,
        },
    }
    return recipe_from_tree(tree)


def test_stopped_distillation_resumes_exactly(tmp_path):
    recipe = run_of_student(tmp_path, [{"type": "det_mobile.distillation:AdapterState"}])
    train(recipe, tmp_path / "whole")
    with pytest.raises(ConfigError, match="ends the training"):
        train(recipe, tmp_path / "parts", callbacks=[Interrupt(2)])
    train(recipe, tmp_path / "parts", resume=True)
    whole, parts = (read_checkpoint(tmp_path / name / "last.safetensors")[1] for name in ("whole", "parts"))
    assert whole.keys() == built(c4_tree()).state_dict().keys()
    torch.testing.assert_close(parts, whole, rtol=0, atol=0)


def test_resumed_distillation_without_adapter_state_differs(tmp_path):
    recipe = run_of_student(tmp_path, [])
    train(recipe, tmp_path / "whole")
    with pytest.raises(ConfigError, match="ends the training"):
        train(recipe, tmp_path / "parts", callbacks=[Interrupt(2)])
    train(recipe, tmp_path / "parts", resume=True)
    whole, parts = (read_checkpoint(tmp_path / name / "last.safetensors")[1] for name in ("whole", "parts"))
    assert any(not torch.equal(whole[name], parts[name]) for name in whole)


def test_adapter_state_of_a_model_without_adapters_is_refused():
    with pytest.raises(ConfigError, match="has no adapters"):
        AdapterState().on_start(SimpleNamespace(model=built(c4_tree())))
