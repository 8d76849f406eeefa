"""Checks of any network: backbone, head or model."""

import copy
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from det_devkit.conformance.placeholders import Pyramid
from det_devkit.conformance.report import DoesNotApply, Failed, check
from det_devkit.conformance.roles import ModuleRole
from det_devkit.conformance.subject import Subject
from det_devkit.conformance.synthetic import Scene, scene
from det_devkit.conformance.tensors import convert, difference, flat, not_finite
from det_devkit.conformance.ties import nearly, resolve_ties

__all__ = ["LEARNING", "RUNNING"]


def picture(subject: Subject, **rest: Any) -> Scene:
    """A synthetic batch with the annotations of the plugin."""
    return scene(annotate=subject.annotate, **rest)


def module_role(subject: Subject) -> ModuleRole:
    """The role of a network."""
    return cast(ModuleRole, subject.role)


def predicted(subject: Subject, module: Any, inputs: Any) -> list[dict[str, Tensor]]:
    """Predictions of a network for each image, in eval mode, from the same random numbers each time."""
    torch.manual_seed(0)
    module.eval()
    with torch.no_grad():
        return module_role(subject).predict(module, convert(inputs, torch.clone))


def losses_of(subject: Subject, module: Any, inputs: Any) -> dict[str, Tensor]:
    """The losses of a network in training mode."""
    return module_role(subject).losses(module.train(), convert(inputs, torch.clone))


def require_same(
    a: Sequence[Mapping[str, Tensor]], b: Sequence[Mapping[str, Tensor]], problem: str, fix: str, tolerance: float
) -> None:
    """Raise Failed if two predictions differ."""
    for number, (one, other) in enumerate(zip(a, b, strict=True)):
        if words := difference(one, other, tolerance):
            raise Failed(f"{problem}: of image {number}, {words}", fix)


def require_same_but_for_ties(
    subject: Subject,
    module: Any,
    inputs: Any,
    predictions: list[dict[str, Tensor]],
    what: str,
    tolerance: float,
    fix: str,
) -> None:
    """Raise Failed if `predictions` are not those of `module`, even with weights rounded differently."""
    expected = predicted(subject, module, inputs)
    others = (predicted(subject, other, inputs) for other in nearly(module, tolerance))
    require_same(expected, resolve_ties(expected, predictions, others, tolerance), what, fix, tolerance)


def total(losses: dict[str, Tensor]) -> Tensor:
    """The sum that training minimizes."""
    return torch.stack([loss.float() for loss in losses.values()]).sum()


@check("it keeps its contract", gate=True)
def contract(subject: Subject) -> None:
    """It has the attributes and methods of its contract in det_core.contracts, of the right types."""
    module_role(subject).require(subject.make(), picture(subject))


@check("it can be built on the meta device")
def meta(subject: Subject) -> None:
    """Its constructor reads no tensor values and names no device."""
    with torch.device("meta"):
        module = subject.make()
    real = [name for name, value in module.state_dict().items() if isinstance(value, Tensor) and not value.is_meta]
    if real:
        raise Failed(f"{real[0]!r} is made elsewhere", "make tensors in the constructor without naming a device")


@check("its inputs are unchanged")
def untouched(subject: Subject) -> None:
    """Neither predicting nor computing losses writes into the input tensors."""
    role, module = module_role(subject), subject.make()
    inputs = role.inputs(module, picture(subject))
    before = convert(inputs, torch.clone)
    with torch.no_grad():
        role.predict(module.eval(), inputs)
    role.losses(module.train(), inputs)
    after = flat(inputs)
    for name, tensor in flat(before).items():
        if not torch.equal(tensor, after[name]):
            fix = "work on copies; relu_, add_, and x[...] = on an argument write into it"
            raise Failed(f"it changes {name or 'the pixels'}", fix)


@check("a batch of n gives what n single images give")
def batched(subject: Subject) -> None:
    """In eval mode, the other images of a batch change nothing."""
    role, module = module_role(subject), subject.make()
    pictures = picture(subject, images=3)
    together = predicted(subject, module, role.inputs(module, pictures))
    alone = [predicted(subject, module, role.inputs(module, pictures[i]))[0] for i in range(len(pictures))]
    fix = "let only the batch axis separate images; statistics over a batch belong to training"
    require_same(together, alone, "alone it is another", fix, 1e-3)


@check("an image of one pixel works")
def one_pixel(subject: Subject) -> None:
    """Predictions and losses are finite, for two such images at once."""
    _require_finite(subject, picture(subject, images=2, size=(1, 1), objects=1), "for an image of one pixel")


@check("images without objects work")
def nothing_there(subject: Subject) -> None:
    """Predictions and losses are finite, and so are the gradients."""
    module = _require_finite(subject, picture(subject, objects=0), "without objects")
    loss = total(losses_of(subject, module, module_role(subject).inputs(module, picture(subject, objects=0))))
    if loss.requires_grad:  # there may be nothing to train without objects
        loss.backward()
    if bad := not_finite({name: p.grad for name, p in module.named_parameters() if p.grad is not None}):
        raise Failed(f"the gradient of {bad[0]!r} is not finite without objects", "divide by max(count, 1)")


@check("the same seed gives the same", gate=True)
def seeded(subject: Subject) -> None:
    """Built and run twice from one seed, its values, predictions and losses are equal."""
    role = module_role(subject)
    one, other = subject.make(seed=1), subject.make(seed=1)
    fix = "draw random numbers from torch's generator alone, and keep no state between calls"
    if words := difference(flat(one.state_dict()), flat(other.state_dict()), 0.0):
        raise Failed(f"built twice, {words}", fix)
    inputs = role.inputs(one, picture(subject))
    require_same(predicted(subject, one, inputs), predicted(subject, one, inputs), "a second run differs", fix, 0.0)
    losses = []
    for module in (one, other):
        torch.manual_seed(2)
        losses.append(losses_of(subject, module, inputs))
    if words := difference(losses[0], losses[1], 1e-6):
        raise Failed(f"from one seed, losses differ: {words}", fix)


@check("a copy and a pickle are equivalent")
def copied(subject: Subject) -> None:
    """copy.deepcopy and pickle, which spawned processes rely on, keep its whole state."""
    role, module = module_role(subject), subject.make()
    inputs = role.inputs(module, picture(subject))
    expected = predicted(subject, module, inputs)
    for what, copy_of in (("a deep copy", copy.deepcopy), ("a pickle", lambda it: pickle.loads(pickle.dumps(it)))):
        try:
            other = copy_of(module)
        except Exception as error:
            fix = "keep no lambdas, open files or generators in it, and define its classes at the top of a module"
            raise Failed(f"{what} cannot be made: {type(error).__name__}: {error}", fix) from error
        actual = predicted(subject, other, inputs)
        role.require(other, picture(subject))  # last, since it trains it too
        require_same(expected, actual, f"{what} predicts something else", "keep all state in attributes", 0)


@check("bfloat16 works")
def half(subject: Subject) -> None:
    """Under autocast, predictions and losses are finite."""
    with torch.autocast("cpu", torch.bfloat16):
        _require_finite(subject, picture(subject), "in bfloat16")


@check("the GPU agrees with the CPU")
def on_gpu(subject: Subject) -> None:
    """Moved to CUDA, it makes the same predictions."""
    gpu = _gpu()
    if not gpu:
        raise DoesNotApply("there is no CUDA device here")
    role, module = module_role(subject), subject.make()
    inputs = role.inputs(module, picture(subject))
    moved = subject.make().to(gpu)
    predictions = convert(
        predicted(subject, moved, convert(inputs, lambda tensor: tensor.to(gpu))), lambda tensor: tensor.cpu()
    )
    fix = "register constants as buffers, and make new tensors on the device of those that are given"
    what = "on the GPU it predicts something else"
    require_same_but_for_ties(subject, module, inputs, predictions, what, 1e-2, fix)


@check("its state dict is complete")
def stateful(subject: Subject) -> None:
    """Saved as safetensors after a step and loaded strictly into a new one, it predicts the same."""
    role, module, other = module_role(subject), subject.make(seed=1), subject.make(seed=2)
    inputs = role.inputs(module, picture(subject))
    if parameters := [p for p in module.parameters() if p.requires_grad]:
        _step(torch.optim.SGD(parameters, lr=1e-3), losses_of(subject, module, inputs))
    state = module.state_dict()
    if odd := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise Failed(
            f"{odd[0]!r} of its state dict is no tensor", "keep what has to be saved in parameters and buffers"
        )
    other.load_state_dict(load(save({name: value.clone().contiguous() for name, value in state.items()})))
    fix = "register trained values as parameters, buffers or modules (nn.ModuleList, not a list)"
    require_same(predicted(subject, module, inputs), predicted(subject, other, inputs), "loaded, it differs", fix, 1e-5)


@check("gradients reach every parameter")
def reached(subject: Subject) -> None:
    """Every parameter that requires a gradient gets one, and it is finite."""
    role, module = module_role(subject), subject.make()
    asking = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not asking:
        raise DoesNotApply("it has no trainable parameters")
    total(losses_of(subject, module, role.inputs(module, picture(subject)))).backward()
    # Not every level of the kit's own backbone has to be used.
    spare = {p for m in module.modules() if isinstance(m, Pyramid) for p in m.stages.parameters()}
    if missed := [name for name, p in asking.items() if p.grad is None and p not in spare]:
        more = f" and {len(missed) - 1} more" if len(missed) > 1 else ""
        fix = "let every layer take part in a loss, detach nothing on the way, or do not build it"
        raise Failed(f"{missed[0]!r}{more} gets no gradient", fix)
    if bad := not_finite({name: p.grad for name, p in asking.items() if p.grad is not None}):
        raise Failed(f"the gradient of {bad[0]!r} is not finite", "check for divisions, roots and logarithms of zero")


@check("a few training steps lower the loss")
def learns(subject: Subject) -> None:
    """Adam lowers the loss on two images by a hundredth within eight steps, at a rate of 1e-3, 1e-4 or 1e-2."""
    role = module_role(subject)
    # A network with large initial activations needs small steps, one with a last layer near zero needs large ones.
    for rate in (1e-3, 1e-4, 1e-2):
        module = subject.make().train()
        parameters = [p for p in module.parameters() if p.requires_grad]
        if not parameters:
            raise DoesNotApply("it has no trainable parameters")
        optimizer = torch.optim.Adam(parameters, lr=rate)
        inputs = role.inputs(module, picture(subject))
        # Losses may depend on moving averages; the comparison starts from the same ones.
        fresh = copy.deepcopy(module)
        first = last = _loss_of(subject, fresh, module, inputs)
        for step in range(8):
            torch.manual_seed(0)  # the same sampling at every step
            _step(optimizer, losses_of(subject, module, inputs))
            if step % 4 == 3:
                last = _loss_of(subject, fresh, module, inputs)
                if last < 0.99 * first:
                    return
    loss_change = f"it went from {first:.4g} to {last:.4g} in eight steps"
    raise Failed(f"the loss does not fall: {loss_change}", "check the sign and the scale of the losses")


def _loss_of(subject: Subject, fresh: nn.Module, trained: nn.Module, inputs: Any) -> float:
    """The loss with the parameters of `trained`, and everything else as in `fresh`."""
    probe = copy.deepcopy(fresh)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter, trained_value in zip(probe.parameters(), trained.parameters(), strict=True):
            parameter.copy_(trained_value)
        return total(losses_of(subject, probe, inputs)).item()


@check("torch.export gives what eager gives")
def exported(subject: Subject) -> None:
    """The part of fixed shapes is exported for one size and run again."""
    role, module = module_role(subject), subject.make().eval()
    part, arguments = role.exportable(module, role.inputs(module, picture(subject)))
    part = part.eval()
    with torch.no_grad():
        expected = flat(part(*arguments))
        try:
            program = torch.export.export(part, arguments)
        except Exception as error:
            first = str(error).strip().partition("\n")[0]
            fix = "branch on shapes, never on the values of tensors; tensors in, tensors out"
            raise Failed(f"it cannot be exported: {type(error).__name__}: {first}", fix) from error
        outputs = flat(program.module()(*arguments))
    if words := difference(expected, outputs, 1e-4):
        raise Failed(f"exported, it predicts something else: {words}", "keep no state between calls")


@check("torch.compile gives what eager gives", slow=True)
def compiled(subject: Subject) -> None:
    """Compiled by inductor, it predicts the same."""
    if not _has_compiler():
        raise DoesNotApply("there is no C++ compiler here")
    role, module = module_role(subject), subject.make()
    inputs = role.inputs(module, picture(subject))
    module.eval()
    torch.compiler.reset()
    run = torch.compile(lambda each: role.predict(module, each))
    torch.manual_seed(0)
    with torch.no_grad():
        predictions = run(inputs)
    torch.compiler.reset()
    what = "compiled, it predicts something else"
    require_same_but_for_ties(subject, module, inputs, predictions, what, 1e-3, "keep no state between calls")


def _gpu() -> str:
    return "cuda" if torch.cuda.is_available() else ""


def _has_compiler() -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        return bool(get_cpp_compiler())
    except Exception:
        return False


def _require_finite(subject: Subject, pictures: Scene, when: str) -> Any:
    role, module = module_role(subject), subject.make()
    inputs = role.inputs(module, pictures)
    for number, values in enumerate(predicted(subject, module, inputs)):
        if bad := not_finite(values):
            raise Failed(
                f"{bad[0]!r} of image {number} is not finite {when}", "check for divisions by a size or a count"
            )
    if bad := not_finite(losses_of(subject, module, inputs)):
        raise Failed(f"the loss {bad[0]!r} is not finite {when}", "divide by max(count, 1)")
    return module


def _step(optimizer: torch.optim.Optimizer, losses: dict[str, Tensor]) -> float:
    loss = total(losses)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


RUNNING = (seeded, meta, untouched, batched, one_pixel, copied, half, on_gpu)
LEARNING = (stateful, reached, learns, exported, compiled)
