"""A network that breaks one rule fails that check, that check alone, and is told what to do."""

import random

import kit_parts as parts
import pytest
import torch
from det_devkit.conformance import modules
from det_devkit.conformance.run import cases_of_component
from torch import nn

EXPORT = "torch.export gives what eager gives"


def failures(kind, broken, export=False):
    """The checks that fail, and why; torch.export, which takes most of the time, is asked only where it matters."""
    cases = cases_of_component(kind, broken, None, None)
    outcomes = [case.outcome(slow=False) for case in cases if export or case.check.name != EXPORT]
    return {outcome.check: outcome.reason for outcome in outcomes if outcome.status == "failed"}


def assert_only(found, check, words):
    assert list(found) == [check], found
    assert words in found[check]


class Open(parts.Net):
    def __init__(self, width: int = 8, **rest: int) -> None:
        super().__init__(width)


class Starred(parts.Net):
    def __init__(self, *widths: int) -> None:
        super().__init__()


class ByPosition(parts.Net):
    def __init__(self, width: int = 8, /) -> None:
        super().__init__(width)


class Bare(parts.Net):
    def __init__(self, width=8) -> None:
        super().__init__(width)


class Unresolved(parts.Net):
    def __init__(self, width: "Width" = 8) -> None:  # noqa: F821
        super().__init__(width)


class Raising(parts.Net):
    def __init__(self) -> None:
        super().__init__(width=-1)


class Asking(parts.Net):
    def __init__(self, width: int) -> None:
        super().__init__(width)


class Unnamed(parts.Net):
    def __init__(self) -> None:
        super().__init__()
        del self.size_divisibility


class Swapped(parts.Net):
    def __init__(self) -> None:
        super().__init__()
        self.strides = {"b": 8, "a": 4}


class Coarse(parts.Net):
    def __init__(self) -> None:
        super().__init__()
        self.channels, self.strides = {"b": 16, "a": 8}, {"b": 8, "a": 4}


class Textual(parts.Net):
    def __init__(self) -> None:
        super().__init__()
        self.channels = {"a": "8", "b": "16"}


class Plain(parts.Net):
    def __init__(self) -> None:
        super().__init__()
        self.size_divisibility = 0


class Wide(parts.Net):
    def __init__(self) -> None:
        super().__init__()
        self.channels = {"a": 8, "b": 32}


class Narrowing(parts.Net):
    """Rounds down where a level has an odd number of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.size_divisibility = 4
        self.second = nn.Conv2d(8, 16, 1)

    def forward(self, pixels):
        a = self.first(pixels).relu()
        half = [max(side // 2, 1) for side in a.shape[-2:]]
        return {"a": a, "b": self.second(nn.functional.interpolate(a, half)).relu()}


class Reversed(parts.Net):
    def forward(self, pixels):
        return dict(reversed(super().forward(pixels).items()))


class Reading(parts.Net):
    def __init__(self) -> None:
        super().__init__()
        self.largest = float(self.first.weight.max())


class OnCpu(parts.Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(1, device="cpu"))


class Writing(parts.Net):
    def forward(self, pixels):
        return super().forward(pixels.mul_(2))


class Mixing(parts.Net):
    def forward(self, pixels):
        return super().forward(pixels - pixels.mean())


class Standardising(parts.Net):
    def forward(self, pixels):
        features = super().forward(pixels)
        b = features["b"] * (1 + 0 * features["b"].std(dim=(2, 3), keepdim=True))
        return {**features, "b": b}


class Dicing(parts.Net):
    def forward(self, pixels):
        return super().forward(pixels * (1 + random.random()))


class Starting(parts.Net):
    def __init__(self) -> None:
        super().__init__()
        nn.init.constant_(self.first.bias, random.random())


class Holding(parts.Net):
    def __init__(self) -> None:
        super().__init__()
        self.act = lambda x: x

    def forward(self, pixels):
        return super().forward(self.act(pixels))


class Dropping(parts.Net):
    def __getstate__(self):
        return {**self.__dict__, "scale": 2.0}

    def forward(self, pixels):
        return super().forward(pixels * getattr(self, "scale", 1.0))


class Summing(parts.Net):
    """Adds to zeros, which are float32 whatever is added."""

    def forward(self, pixels):
        features = super().forward(pixels)
        zeros = torch.zeros(features["a"].shape)
        return {**features, "a": zeros.index_add(0, torch.arange(len(zeros)), features["a"])}


class Staying(parts.Net):
    """Keeps what it knows of its device in an attribute."""

    scale = 1.0

    def to(self, *args, **rest):
        self.scale = 2.0
        return super().to(*args, **rest)

    def forward(self, pixels):
        return super().forward(pixels * self.scale)


class Listed(parts.Net):
    """Its second convolution is in a list, where torch does not see it."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [self.second]
        del self.second

    def forward(self, pixels):
        a = self.first(pixels).relu()
        return {"a": a, "b": self.hidden[0](a).relu()}


class Odd(parts.Net):
    def get_extra_state(self):
        return {"a": 1}

    def set_extra_state(self, state):
        pass


class Idle(parts.Net):
    def __init__(self) -> None:
        super().__init__()
        self.third = nn.Conv2d(16, 16, 1)


class Detached(parts.Net):
    def forward(self, pixels):
        a = self.first(pixels).relu().detach()
        return {"a": a, "b": self.second(a).relu()}


class Contrary(parts.Net):
    """Its gradients have the wrong sign."""

    def forward(self, pixels):
        return {name: 2 * x.detach() - x for name, x in super().forward(pixels).items()}


class Branching(parts.Net):
    def forward(self, pixels):
        return super().forward(pixels if pixels.sum() > 1e9 else pixels + 0)


BROKEN = [
    (
        Open,
        "a recipe can name every argument",
        "Open takes **rest, which lets misspelt names pass; name every argument",
    ),
    (Starred, "a recipe can name every argument", "Starred takes *widths, which no recipe can give"),
    (ByPosition, "a recipe can name every argument", "takes width by position alone"),
    (Bare, "every argument has an annotation that resolves", "argument 'width' has no annotation; annotate it"),
    (Unresolved, "every argument has an annotation that resolves", "name 'Width' is not defined"),
    (Raising, "it can be made", "Trying to create tensor with negative dimension"),
    (Asking, "it can be made", 'give arguments: examples={"backbones/Asking": {"width": ...}}'),
    (Unnamed, "it keeps its contract", "Unnamed is no Backbone: it lacks 'size_divisibility'; see det_core.contracts"),
    (Swapped, "it keeps its contract", "channels names a, b; strides names b, a; name the same levels"),
    (Coarse, "it keeps its contract", "name the finest level first"),
    (Textual, "it keeps its contract", "make it a mapping from level to a positive int"),
    (Plain, "it keeps its contract", "size_divisibility is 0; make it an int, 1 where any size will do"),
    (Wide, "its channels and strides are as declared", "level 'b' has shape (2, 16, 8, 8) for pixels of shape"),
    (Narrowing, "its channels and strides are as declared", "it declares (2, 16, 13, 5); correct channels, strides"),
    (Reversed, "its channels and strides are as declared", "return a dict of ['a', 'b'], in this order"),
    (Reading, "it can be built on the meta device", "Tensor.item() cannot be called on meta tensors"),
    (OnCpu, "it can be built on the meta device", "'shift' is made elsewhere; make tensors in the constructor without"),
    (Writing, "its inputs are unchanged", "it changes the pixels; work on copies"),
    (Mixing, "a batch of n gives what n single images give", "alone it is another: of image 0, 'a' differs by up to"),
    (Standardising, "an image of one pixel works", "'b' of image 0 is not finite for an image of one pixel"),
    (Dicing, "the same seed gives the same", "draw random numbers from torch's generator alone"),
    (Starting, "the same seed gives the same", "built twice, 'first.bias' differs"),
    (Holding, "a copy and a pickle are equivalent", "a pickle cannot be made"),
    (Dropping, "a copy and a pickle are equivalent", "a deep copy predicts something else"),
    (Summing, "bfloat16 works", "must have the same scalar type"),
    (Odd, "its state dict is complete", "'_extra_state' of its state dict is no tensor; keep"),
    (Idle, "gradients reach every parameter", "'third.weight' and 1 more gets no gradient; let every layer take part"),
    (Detached, "gradients reach every parameter", "'first.weight' and 1 more gets no gradient"),
    (Contrary, "a few training steps lower the loss", "the loss does not fall: it went from"),
]


@pytest.mark.parametrize(("broken", "check", "words"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_faulty_network_fails_one_check(broken, check, words):
    assert_only(failures("backbones", broken), check, words)


def test_non_callable_component_is_refused():
    assert_only(
        failures("backbones", 3), "its target can be imported", "3 cannot be called; name a class or a function"
    )


def test_layers_in_plain_list_are_reported():
    # It fails two checks: a new one also starts with values that no state dict brings along.
    found = failures("backbones", Listed)
    assert "register trained values as parameters" in found["its state dict is complete"]


def test_value_dependent_branch_fails_export():
    assert_only(
        failures("backbones", Branching, export=True), EXPORT, "branch on shapes, never on the values of tensors"
    )


def test_different_gpu_output_is_reported(monkeypatch):
    monkeypatch.setattr(modules, "_gpu", lambda: "cpu")
    assert failures("backbones", parts.Net) == {}
    assert_only(failures("backbones", Staying), "the GPU agrees with the CPU", "register constants as buffers")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_tensor_left_on_cpu_is_reported():
    class Forgetful(parts.Net):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.full((3, 1, 1), 2.0)

        def forward(self, pixels):
            return super().forward(pixels * self.scale)

    found = failures("backbones", Forgetful)
    assert "the GPU agrees with the CPU" in found


@pytest.mark.slow
def test_different_compiled_output_is_reported():
    cases = cases_of_component("backbones", Compiled, None, None)
    found = [case.outcome() for case in cases if case.check.slow]
    assert [outcome.status for outcome in found] == ["failed"]
    assert "compiled, it predicts something else" in found[0].reason


class Compiled(parts.Net):
    def forward(self, pixels):
        return super().forward(pixels * (2.0 if torch.compiler.is_compiling() else 1.0))


def test_checks_after_fatal_failure_are_skipped_with_reason():
    outcomes = [case.outcome(slow=False) for case in cases_of_component("backbones", Unnamed, None, None)]
    after = outcomes[[outcome.check for outcome in outcomes].index("it keeps its contract") + 1 :]
    assert {outcome.status for outcome in after} == {"does not apply"}
    assert {outcome.reason for outcome in after[:-1]} == {"'it keeps its contract' does not hold"}
