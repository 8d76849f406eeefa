"""A dataset, an evaluator or an exporter that breaks one rule fails that check, that check alone, and is told why."""

import itertools
import json
from dataclasses import replace

import kit_parts as parts
import pytest
import torch
from det_devkit.conformance.run import cases_of_component

CONTRACT = "it keeps its contract"
FORMED = "its samples are well formed"
FIGURES = "its metrics are named and finite"
FAITHFUL = "the file predicts what the model predicts"
UNCHANGED = "the model is unchanged"
NUMBERS = itertools.count()


def failures(kind, broken):
    outcomes = [case.outcome(slow=False) for case in cases_of_component(kind, broken, None, None)]
    return {outcome.check: outcome.reason for outcome in outcomes if outcome.status == "failed"}


def with_attributes(parent, **attributes):
    """A class of this module, so that it can be pickled."""
    name = f"{parent.__name__}{next(NUMBERS)}"
    globals()[name] = type(name, (parent,), {**attributes, "__module__": __name__, "__qualname__": name})
    return globals()[name]


def with_targets(**fields):
    """A dataset that says something else of its objects."""

    def targets(self, index):
        truth = parts.Pictures.targets(self, index)
        return replace(truth, **{name: make(truth) for name, make in fields.items()})

    return with_attributes(parts.Pictures, targets=targets)


class SameId(parts.Pictures):
    def __getitem__(self, index):
        return replace(super().__getitem__(index), id=0)


class Bare(parts.Pictures):
    def __getitem__(self, index):
        return super().__getitem__(index).image


class Kept(parts.Pictures):
    """Gives the same tensors out again and again."""

    def __init__(self) -> None:
        self.image = torch.ones(3, 32, 40, dtype=torch.uint8)

    def __getitem__(self, index):
        return replace(super().__getitem__(index), image=self.image)


NUMBERS = itertools.count(1)


class Dicing(parts.Pictures):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return replace(sample, image=sample.image + next(NUMBERS) % 100)


class Locked(parts.Pictures):
    def __init__(self) -> None:
        self.read = lambda index: index


class Forgetting(parts.Pictures):
    def __getstate__(self):
        return {"classes": ("green", "red")}


DATASETS = [
    (with_attributes(parts.Pictures, classes="red"), CONTRACT, "classes is 'red'; make it a sequence of names"),
    (with_attributes(parts.Pictures, classes=("red", "red")), CONTRACT, "make all class names different"),
    (with_attributes(parts.Pictures, evaluators=(1,)), CONTRACT, "evaluators is (1,); make it a sequence of names"),
    (Bare, CONTRACT, "it gives a Tensor; return det_core.structures.Sample"),
    (SameId, FORMED, "two samples have one id; make ids unique"),
    (with_targets(labels=lambda t: t.labels + 1), FORMED, "labels run from 1 to 2 with 2 classes; number them from 0"),
    (with_targets(labels=lambda t: t.labels.int()), FORMED, "labels are torch.int32; make them torch.int64"),
    (with_targets(boxes=lambda t: t.boxes.double()), FORMED, "boxes are torch.float64; make them torch.float32"),
    (with_targets(boxes=lambda t: t.boxes + 30), FORMED, "boxes reach out of the image of 32 x 40, or are turned"),
    (with_targets(boxes=lambda t: t.boxes[:, [2, 3, 0, 1]]), FORMED, "boxes are (x0, y0, x1, y1) in pixels of the"),
    (
        with_targets(masks=lambda t: torch.ones(len(t), 16, 20, dtype=torch.bool)),
        FORMED,
        "masks have shape (2, 16, 20); make them (32, 40) large, as the image",
    ),
    (with_targets(extras=lambda t: {"mine": t.labels}), FORMED, "the key 'mine' of an extra is not qualified"),
    (Kept, "reading twice gives the same", "read or copy the tensors for every sample"),
    (Locked, "a pickled copy reads the same", "it cannot be pickled"),
    (Forgetting, "a pickled copy reads the same", "its pickle has another length or other classes"),
    (with_attributes(parts.Pictures, evaluators=("coko",)), "its evaluators exist", "did you mean 'coco'"),
]


@pytest.mark.parametrize(("broken", "check", "words"), DATASETS, ids=lambda v: v if isinstance(v, str) else None)
def test_faulty_dataset_fails_one_check(broken, check, words):
    found = failures("datasets", broken)
    assert list(found) == [check], found
    assert words in found[check]


def test_random_dataset_fails_checks_of_repeated_reading():
    assert set(failures("datasets", Dicing)) == {"reading twice gives the same", "a pickled copy reads the same"}


def test_dataset_extra_ignoring_flips_is_reported():
    from torchvision import tv_tensors
    from torchvision.transforms.v2 import functional as F

    class Marks(tv_tensors.TVTensor):
        """Points that a flip moves by one pixel too far."""

    @F.register_kernel(functional="horizontal_flip", tv_tensor_cls=Marks)
    def flip(marks, *given, **named):
        return tv_tensors.wrap(marks.as_subclass(torch.Tensor) + 1, like=marks)

    def marks(truth):
        return {"kit/marks": truth.boxes.as_subclass(Marks)}

    found = failures("datasets", with_targets(extras=marks))
    assert list(found) == ["its samples follow flips and resizes"], found
    assert "flipped twice" in found["its samples follow flips and resizes"]


def changed_result(change):
    def result(self):
        return change(parts.Count.result(self))

    return with_attributes(parts.Count, result=result)


class Consuming(parts.Count):
    """Its first answer is another than its second."""

    def result(self):
        found = super().result()
        self.images = []
        return found


class Lower(parts.Count):
    def result(self):
        return {name: -value for name, value in super().result().items()}


class Adding(parts.Count):
    """Counts its own images twice when states are merged."""

    def merge(self, states):
        self.images = self.images + [image for state in states for image in state]


class Handled(parts.Count):
    def state(self):
        return lambda: self.images


class Zero(parts.Count):
    def result(self):
        return {"count/right": sum(t for n, t in self.images if n == t) / sum(t for _, t in self.images)}


EVALUATORS = [
    (with_attributes(parts.Count, merge=None), CONTRACT, "merge"),
    (changed_result(lambda found: list(found)), FIGURES, "result() gives a list; return"),
    (changed_result(lambda found: dict.fromkeys(["right"], 1.0)), FIGURES, "a metric is called 'right'"),
    (changed_result(lambda found: dict.fromkeys(found, 1)), FIGURES, "count/right is 1; return floats"),
    (Consuming, FIGURES, "a second call gives other metrics; change nothing in result()"),
    (Lower, "perfect predictions are better than none", "return a metric that increases with quality"),
    (Handled, "merging two halves gives the whole", "its state cannot be pickled"),
    (Zero, "it works without images or objects", "ZeroDivisionError"),
]


@pytest.mark.parametrize(("broken", "check", "words"), EVALUATORS, ids=lambda v: v if isinstance(v, str) else None)
def test_faulty_evaluator_fails_one_check(broken, check, words):
    found = failures("evaluators", broken)
    assert list(found) == [check], found
    assert words in found[check]


def test_accumulating_evaluator_merge_is_reported():
    class Seen(Adding):
        """Says how many images there were."""

        def result(self):
            return {"count/right": float(sum(n for n, _ in self.images)), "count/images": float(len(self.images))}

    found = failures("evaluators", Seen)
    assert list(found) == ["merging two halves gives the whole"], found
    assert "let merge replace the added images by those of all states" in found["merging two halves gives the whole"]


class Unwritten(parts.Writer):
    def export(self, model, example, path):
        super().export(model, example, path)
        return path.with_suffix(".gone")


class Untrained(parts.Writer):
    """The file holds no weights."""

    def load(self, path):
        torch.manual_seed(5)
        return parts.Whole().eval()


class Fixed(parts.Writer):
    """The file answers without looking at the picture."""

    def load(self, path):
        model = super().load(path)
        return lambda batch: model(replace(batch, pixels=torch.zeros_like(batch.pixels)))


class Taming(parts.Writer):
    def export(self, model, example, path):
        model.eval()
        return super().export(model, example, path)


class Rounding(parts.Writer):
    def export(self, model, example, path):
        written = super().export(model, example, path)
        with torch.no_grad():
            model.classify.bias += 1
        content = json.loads(written.read_text())
        content["classify.bias"] = [b + 1 for b in content["classify.bias"]]
        written.write_text(json.dumps(content))
        return written


EXPORTERS = [
    (with_attributes(parts.Writer, load=None), CONTRACT, "load"),
    (with_attributes(parts.Writer, suffixes=("json",)), CONTRACT, "the suffixes of its class are ('json',)"),
    (Unwritten, FAITHFUL, "which is no file; return the path of what was written"),
    (Untrained, FAITHFUL, "the file predicts something else"),
    (Fixed, FAITHFUL, "the file predicts something else"),
    (Taming, UNCHANGED, "it changes the mode; work on copy.deepcopy(model)"),
    (Rounding, UNCHANGED, "it changes the weights; work on copy.deepcopy(model)"),
]


@pytest.mark.parametrize(("broken", "check", "words"), EXPORTERS, ids=lambda v: v if isinstance(v, str) else None)
def test_faulty_exporter_fails_one_check(broken, check, words):
    found = exported(broken)
    assert list(found) == [check], found
    assert words in found[check]


def exported(exporter):
    """What fails where the plugin brings the model that its exporter takes."""
    from det_devkit.conformance.run import _cases
    from det_devkit.conformance.subject import Subject
    from det_devkit.conformance.tables import CHECKS, ROLES

    siblings = [Subject("models", "whole", lambda: parts.Whole, ROLES["models"])]
    subject = Subject("exporters", "writer", lambda: exporter, ROLES["exporters"], siblings=siblings)
    outcomes = [case.outcome(slow=False) for case in _cases("exporter writer", CHECKS["exporters"], subject)]
    return {outcome.check: outcome.reason for outcome in outcomes if outcome.status == "failed"}


def test_valid_exporter_passes_on_its_model():
    assert exported(parts.Writer) == {}
