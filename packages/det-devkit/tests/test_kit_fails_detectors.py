"""A head or a model that breaks its contract fails that check, and is told what to do."""

import functools
from dataclasses import replace

import kit_parts as parts
import pytest
import torch
from det_core.structures import SemanticMap
from det_devkit.conformance.run import cases_of_component
from torch import nn

EXPORT = "torch.export gives what eager gives"
CONTRACT = "it keeps its contract"
EMPTY = "images without objects work"


def failures(kind, broken):
    cases = [case for case in cases_of_component(kind, broken, None, None) if case.check.name != EXPORT]
    outcomes = [case.outcome(slow=False) for case in cases]
    return {outcome.check: outcome.reason for outcome in outcomes if outcome.status == "failed"}


def changed(parent, method, change):
    """A class whose method returns something else."""

    @functools.wraps(getattr(parent, method))
    def other(self, *given):
        return change(getattr(parent, method)(self, *given))

    return type("Broken", (parent,), {method: other, "__module__": __name__})


def each(**fields):
    """A change to every structure in a list: its fields as functions of it."""
    return lambda found: [replace(d, **{name: make(d) for name, make in fields.items()}) for d in found]


def outside(d):
    return d.boxes + 1000


HEADS = [
    (changed(parts.Finder, "propose", lambda found: found[:1]), "forward returns 1 for 2 images; return one per image"),
    (changed(parts.Finder, "propose", lambda found: [p.boxes for p in found]), "return a list of Proposals"),
    (changed(parts.Finder, "propose", lambda found: [p[torch.arange(len(p)).flip(0)] for p in found]), "not sorted"),
    (changed(parts.Finder, "propose", each(boxes=outside)), "boxes extend beyond the image of size (64, 96)"),
    (changed(parts.Finder, "forward", lambda pair: pair[0]), "forward returns a list; return (proposals, losses)"),
    (
        changed(parts.Finder, "forward", lambda pair: (pair[0], {"a": torch.zeros(())})),
        "without targets, forward returns",
    ),
    (changed(parts.Finder, "losses", lambda losses: {"a": torch.zeros(2)}), "'a' is no scalar but shape (2,)"),
    (changed(parts.Finder, "losses", lambda losses: torch.zeros(())), "losses: "),
    (changed(parts.Finder, "losses", lambda losses: {"a": torch.tensor(float("nan"))}), "the loss 'a' is not finite"),
    (changed(parts.Stage, "predict", each(labels=lambda d: d.labels + 3)), "labels run from"),
    (changed(parts.Stage, "predict", each(labels=lambda d: d.labels.int())), "labels are torch.int32"),
    (changed(parts.Stage, "predict", each(scores=lambda d: d.scores + 1)), "scores lie outside [0, 1]"),
    (changed(parts.Stage, "predict", each(size=lambda d: (96, 64))), "detections are for size (96, 64), the image has"),
    (changed(parts.Stage, "predict", each(boxes=lambda d: d.boxes.double())), "boxes are torch.float64; make them"),
    (changed(parts.Quality, "predict", each(extras=lambda d: {})), "predict fills nothing in; return replace"),
    (changed(parts.Quality, "predict", each(boxes=lambda d: d.boxes * 0.5)), "predict returns other boxes; keep the"),
    (
        changed(parts.Quality, "predict", each(extras=lambda d: {"mine": d.scores})),
        "the key 'mine' of Detections.extras",
    ),
    (changed(parts.Quality, "predict", each(masks=lambda d: d.boxes[:, :, None])), "masks are torch.float32"),
    (changed(parts.Dense, "forward", lambda outputs: outputs.logits), "forward returns a Tensor; return a NamedTuple"),
    (changed(parts.Dense, "decode", lambda found: found[0]), "decode returns Detections; return a list of Detections"),
    (changed(parts.Condense, "forward", lambda out: out[:, :3]), "for 12 regions and out_dim 4; return (P, out_dim)"),
    (changed(parts.Predictor, "detect", each(scores=lambda d: d.scores - 2)), "scores lie outside [0, 1]"),
    (changed(parts.Pixels, "forward", lambda logits: logits[:, :, ::2]), "return logits (2, 3, H, W) at the size of"),
]


@pytest.mark.parametrize(("broken", "words"), HEADS, ids=lambda value: value if isinstance(value, str) else None)
def test_head_with_wrong_return_type_fails_contract_check(broken, words):
    found = failures("heads", broken)
    assert list(found) == [CONTRACT], found
    assert words.removeprefix("losses: ") in found[CONTRACT]


class Nothing(nn.Module):
    """Has losses, but says nothing."""

    def __init__(self) -> None:
        super().__init__()

    def losses(self, features):
        return {}


class NoModule:
    contract = "RegionHead"

    def losses(self, features, proposals, targets):
        return {}

    def predict(self, features, detections):
        return detections


def test_head_without_contract_is_reported_with_contracts():
    found = failures("heads", Nothing)
    assert list(found) == [CONTRACT]
    assert 'Nothing keeps no contract of heads: it declares none; write contract = "RegionHead"' in found[CONTRACT]


def test_head_must_be_module():
    assert "not an nn.Module; derive it from torch.nn.Module" in failures("heads", NoModule)[CONTRACT]


def test_class_behind_function_is_found_by_annotation():
    def make(channels: dict[str, int], strides: dict[str, int]) -> parts.Quality:
        return parts.Quality(channels, strides)

    def hidden(channels: dict[str, int], strides: dict[str, int]):
        return parts.Quality(channels, strides)

    assert failures("heads", make) == {}
    assert list(failures("heads", hidden)) == [CONTRACT]


class Dividing(parts.Quality):
    """Its mean over no region is not a number."""

    def losses(self, features, proposals, targets):
        rates = self.rate(parts.pool(features, "p4", proposals)).float()
        return {"loss_quality": rates.sub(1).square().mean()}


class Rooting(parts.Quality):
    """Its loss is finite without objects, its gradient is not."""

    def losses(self, features, proposals, targets):
        losses = super().losses(features, proposals, targets)
        count = sum(len(boxes) for boxes in proposals)
        length = (count * self.rate.weight).square().sum().sqrt()
        return {"loss_quality": losses["loss_quality"] + 1e-3 * length}


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (Dividing, "the loss 'loss_quality' is not finite without objects; divide by max(count, 1)"),
        (Rooting, "the gradient of 'rate.weight' is not finite without objects; divide by max(count, 1)"),
    ],
)
def test_head_failing_without_objects_fails_one_check(broken, words):
    found = failures("heads", broken)
    assert list(found) == [EMPTY], found
    assert found[EMPTY] == words


class ByMode(parts.Whole):
    def forward(self, batch, targets=None):
        return self.losses(batch, targets) if self.training else self.predict(batch)


class AllOfIt(parts.Whole):
    """Looks at the padding too."""

    def logits(self, batch):
        return self.classify(batch.pixels.float().mean(dim=(2, 3)) / 255)


class Anonymous(parts.Whole):
    def __init__(self) -> None:
        super().__init__()
        del self.num_classes


def found(**fields):
    """A change to the detections of every prediction."""
    return lambda predictions: [
        replace(p, **{n: make(p.detections) for n, make in fields.items()}) for p in predictions
    ]


def half(d):
    return SemanticMap(logits=torch.zeros(3, d.size[0] // 2, d.size[1] // 2))


MODELS = [
    (ByMode, "the argument decides between losses and predictions", "test `targets is None`, not `self.training`"),
    (AllOfIt, "the content of the padding does not matter", "normalize first, then fill with zeros"),
    (Anonymous, CONTRACT, "Anonymous is no Model: it lacks 'num_classes'"),
    (
        changed(parts.Whole, "predict", lambda p: p[0]),
        CONTRACT,
        "forward without targets returns Prediction; return a list",
    ),
    (changed(parts.Whole, "predict", found(detections=lambda d: None)), CONTRACT, "a prediction is empty; fill"),
    (
        changed(parts.Whole, "predict", found(semantic=half)),
        CONTRACT,
        "semantic.logits has shape (3, 32, 48), the image",
    ),
    (
        changed(parts.Whole, "predict", found(extras=lambda d: {"mine": d.scores})),
        CONTRACT,
        "of Prediction.extras is not",
    ),
    (changed(parts.Whole, "losses", lambda losses: {}), CONTRACT, "forward with targets returns {}; return {loss name"),
]


@pytest.mark.parametrize(("broken", "check", "words"), MODELS, ids=lambda v: v if isinstance(v, str) else None)
def test_faulty_model_fails_one_check(broken, check, words):
    outcome = failures("models", broken)
    assert list(outcome) == [check], outcome
    assert words in outcome[check]
