"""Checks of any network: backbone, head or model."""

import copy
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from det_devkit.conformance.report import DoesNotApply, Failed, check
from det_devkit.conformance.roles import ModuleRole
from det_devkit.conformance.scenes import Scene, scene
from det_devkit.conformance.standins import Pyramid
from det_devkit.conformance.subject import Subject
from det_devkit.conformance.tensors import convert, difference, flat, not_finite
from det_devkit.conformance.ties import but_for_ties, nearly

__all__ = ["LEARNING", "RUNNING"]


def picture(subject: Subject, **rest: Any) -> Scene:
    """A scene with what the plugin's own truth adds."""
    return scene(truth=subject.truth, **rest)


def role_of(subject: Subject) -> ModuleRole:
    """The role of a network."""
    return cast(ModuleRole, subject.role)


def predicted(subject: Subject, module: Any, inputs: Any) -> list[dict[str, Tensor]]:
    """What a network says of each picture, in eval mode, from the same random numbers each time."""
    torch.manual_seed(0)
    module.eval()
    with torch.no_grad():
        return role_of(subject).predict(module, convert(inputs, torch.clone))


def losses_of(subject: Subject, module: Any, inputs: Any) -> dict[str, Tensor]:
    """The losses of a network in training mode."""
    return role_of(subject).losses(module.train(), convert(inputs, torch.clone))


def require_same(
    a: Sequence[Mapping[str, Tensor]], b: Sequence[Mapping[str, Tensor]], what: str, fix: str, tolerance: float
) -> None:
    """Raise Failed where two predictions differ."""
    for number, (one, other) in enumerate(zip(a, b, strict=True)):
        if words := difference(one, other, tolerance):
            raise Failed(f"{what}: of picture {number}, {words}", fix)


def require_same_but_for_ties(
    subject: Subject, module: Any, inputs: Any, found: list[dict[str, Tensor]], what: str, tolerance: float, fix: str
) -> None:
    """Raise Failed where `found` is not what `module` predicts, nor what it could with weights rounded differently."""
    expected = predicted(subject, module, inputs)
    others = (predicted(subject, other, inputs) for other in nearly(module, tolerance))
    require_same(expected, but_for_ties(expected, found, others, tolerance), what, fix, tolerance)


def total(losses: dict[str, Tensor]) -> Tensor:
    """What training minimises."""
    return torch.stack([loss.float() for loss in losses.values()]).sum()


@check("it keeps its contract", gate=True)
def contract(subject: Subject) -> None:
    """It has the attributes and methods that det_core.contracts names for its kind, and they are of the right types."""
    role_of(subject).require(subject.make(), picture(subject))


@check("it can be made on the meta device")
def meta(subject: Subject) -> None:
    """Its constructor reads no tensor values and names no device."""
    with torch.device("meta"):
        module = subject.make()
    real = [name for name, value in module.state_dict().items() if isinstance(value, Tensor) and not value.is_meta]
    if real:
        raise Failed(f"{real[0]!r} is made elsewhere", "make tensors in the constructor without naming a device")


@check("what it is given stays as it was")
def untouched(subject: Subject) -> None:
    """Neither predicting nor computing losses writes into the tensors that it is given."""
    role, module = role_of(subject), subject.make()
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
    role, module = role_of(subject), subject.make()
    pictures = picture(subject, images=3)
    together = predicted(subject, module, role.inputs(module, pictures))
    alone = [predicted(subject, module, role.inputs(module, pictures[i]))[0] for i in range(len(pictures))]
    fix = "let nothing but the batch axis tell images apart; statistics over a batch belong to training"
    require_same(together, alone, "alone it is another", fix, 1e-3)


@check("an image of one pixel works")
def one_pixel(subject: Subject) -> None:
    """Predictions and losses are finite, for two such images at once."""
    _require_finite(subject, picture(subject, images=2, size=(1, 1), objects=1), "for a picture of one pixel")


@check("images without objects work")
def nothing_there(subject: Subject) -> None:
    """Predictions and losses are finite, and so are the gradients."""
    module = _require_finite(subject, picture(subject, objects=0), "where no object is")
    loss = total(losses_of(subject, module, role_of(subject).inputs(module, picture(subject, objects=0))))
    if loss.requires_grad:  # nothing may be learnt where nothing is
        loss.backward()
    if bad := not_finite({name: p.grad for name, p in module.named_parameters() if p.grad is not None}):
        raise Failed(f"the gradient of {bad[0]!r} is not finite where no object is", "divide by max(count, 1)")


@check("the same seed gives the same", gate=True)
def seeded(subject: Subject) -> None:
    """Made and run twice from one seed, its values, predictions and losses are equal."""
    role = role_of(subject)
    one, other = subject.make(seed=1), subject.make(seed=1)
    fix = "draw random numbers from torch's generator alone, and keep nothing from call to call"
    if words := difference(flat(one.state_dict()), flat(other.state_dict()), 0.0):
        raise Failed(f"made twice, {words}", fix)
    inputs = role.inputs(one, picture(subject))
    require_same(predicted(subject, one, inputs), predicted(subject, one, inputs), "a second run differs", fix, 0.0)
    losses = []
    for module in (one, other):
        torch.manual_seed(2)
        losses.append(losses_of(subject, module, inputs))
    if words := difference(losses[0], losses[1], 1e-6):
        raise Failed(f"from one seed, losses differ: {words}", fix)


@check("a copy and a pickle do what it does")
def copied(subject: Subject) -> None:
    """copy.deepcopy and pickle, which spawned processes rely on, keep all that it is."""
    role, module = role_of(subject), subject.make()
    inputs = role.inputs(module, picture(subject))
    expected = predicted(subject, module, inputs)
    for what, made in (("a deep copy", copy.deepcopy), ("a pickle", lambda it: pickle.loads(pickle.dumps(it)))):
        try:
            other = made(module)
        except Exception as error:
            fix = "keep no lambdas, open files or generators in it, and define its classes at the top of a module"
            raise Failed(f"{what} cannot be made: {type(error).__name__}: {error}", fix) from error
        said = predicted(subject, other, inputs)
        role.require(other, picture(subject))  # last, since it trains it too
        require_same(expected, said, f"{what} does something else", "keep all state in attributes", 0)


@check("bfloat16 works")
def half(subject: Subject) -> None:
    """Under autocast, predictions and losses are finite."""
    with torch.autocast("cpu", torch.bfloat16):
        _require_finite(subject, picture(subject), "in bfloat16")


@check("the GPU agrees with the CPU")
def on_gpu(subject: Subject) -> None:
    """Moved to CUDA, it says the same."""
    gpu = _gpu()
    if not gpu:
        raise DoesNotApply("there is no CUDA device here")
    role, module = role_of(subject), subject.make()
    inputs = role.inputs(module, picture(subject))
    moved = subject.make().to(gpu)
    found = convert(
        predicted(subject, moved, convert(inputs, lambda tensor: tensor.to(gpu))), lambda tensor: tensor.cpu()
    )
    fix = "register constants as buffers, and make new tensors on the device of those that are given"
    what = "on the GPU it says something else"
    require_same_but_for_ties(subject, module, inputs, found, what, 1e-2, fix)


@check("its state dict holds all that it has learnt")
def stateful(subject: Subject) -> None:
    """Saved as safetensors after a step and loaded strictly into a new one, it predicts the same."""
    role, module, other = role_of(subject), subject.make(seed=1), subject.make(seed=2)
    inputs = role.inputs(module, picture(subject))
    if parameters := [p for p in module.parameters() if p.requires_grad]:
        _step(torch.optim.SGD(parameters, lr=1e-3), losses_of(subject, module, inputs))
    state = module.state_dict()
    if odd := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise Failed(
            f"{odd[0]!r} of its state dict is no tensor", "keep what has to be saved in parameters and buffers"
        )
    other.load_state_dict(load(save({name: value.clone().contiguous() for name, value in state.items()})))
    fix = "register what is learnt as parameters, buffers or modules (nn.ModuleList, not a list)"
    require_same(predicted(subject, module, inputs), predicted(subject, other, inputs), "loaded, it differs", fix, 1e-5)


@check("gradients reach every parameter")
def reached(subject: Subject) -> None:
    """Every parameter that asks for a gradient gets one, and it is finite."""
    role, module = role_of(subject), subject.make()
    asking = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not asking:
        raise DoesNotApply("it has no parameters to learn")
    total(losses_of(subject, module, role.inputs(module, picture(subject)))).backward()
    # Nobody has to use every level of the kit's own backbone.
    spare = {p for m in module.modules() if isinstance(m, Pyramid) for p in m.stages.parameters()}
    if missed := [name for name, p in asking.items() if p.grad is None and p not in spare]:
        more = f" and {len(missed) - 1} more" if len(missed) > 1 else ""
        fix = "let every layer take part in a loss, detach nothing on the way, or do not build it"
        raise Failed(f"{missed[0]!r}{more} gets no gradient", fix)
    if bad := not_finite({name: p.grad for name, p in asking.items() if p.grad is not None}):
        raise Failed(f"the gradient of {bad[0]!r} is not finite", "look for divisions, roots and logarithms of zero")


@check("a few training steps lower the loss")
def learns(subject: Subject) -> None:
    """Adam lowers the loss on two pictures by a hundredth within eight steps, at a rate of 1e-3, 1e-4 or 1e-2."""
    role = role_of(subject)
    # A network that starts with large activations bears only small steps, one whose last layer starts near zero needs
    # large ones.
    for rate in (1e-3, 1e-4, 1e-2):
        module = subject.make().train()
        parameters = [p for p in module.parameters() if p.requires_grad]
        if not parameters:
            raise DoesNotApply("it has no parameters to learn")
        optimizer = torch.optim.Adam(parameters, lr=rate)
        inputs = role.inputs(module, picture(subject))
        # Losses may depend on moving averages; what is compared starts from the same ones.
        fresh = copy.deepcopy(module)
        first = last = _loss_of(subject, fresh, module, inputs)
        for step in range(8):
            torch.manual_seed(0)  # the same sampling at every step
            _step(optimizer, losses_of(subject, module, inputs))
            if step % 4 == 3:
                last = _loss_of(subject, fresh, module, inputs)
                if last < 0.99 * first:
                    return
    found = f"it went from {first:.4g} to {last:.4g} in eight steps"
    raise Failed(f"the loss does not fall: {found}", "look at the sign and the scale of the losses")


def _loss_of(subject: Subject, fresh: nn.Module, trained: nn.Module, inputs: Any) -> float:
    """The loss with the parameters of `trained`, and all else as in `fresh`."""
    probe = copy.deepcopy(fresh)
    torch.manual_seed(0)
    with torch.no_grad():
        for own, learnt in zip(probe.parameters(), trained.parameters(), strict=True):
            own.copy_(learnt)
        return total(losses_of(subject, probe, inputs)).item()


@check("torch.export gives what eager gives")
def exported(subject: Subject) -> None:
    """The part of fixed shapes is exported for one size and run again."""
    role, module = role_of(subject), subject.make().eval()
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
        found = flat(program.module()(*arguments))
    if words := difference(expected, found, 1e-4):
        raise Failed(f"exported, it says something else: {words}", "keep nothing from call to call")


@check("torch.compile gives what eager gives", slow=True)
def compiled(subject: Subject) -> None:
    """Compiled by inductor, it predicts the same."""
    if not _has_compiler():
        raise DoesNotApply("there is no C++ compiler here")
    role, module = role_of(subject), subject.make()
    inputs = role.inputs(module, picture(subject))
    module.eval()
    torch.compiler.reset()
    run = torch.compile(lambda given: role.predict(module, given))
    torch.manual_seed(0)
    with torch.no_grad():
        found = run(inputs)
    torch.compiler.reset()
    what = "compiled, it says something else"
    require_same_but_for_ties(subject, module, inputs, found, what, 1e-3, "keep nothing from call to call")


def _gpu() -> str:
    return "cuda" if torch.cuda.is_available() else ""


def _has_compiler() -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        return bool(get_cpp_compiler())
    except Exception:
        return False


def _require_finite(subject: Subject, pictures: Scene, when: str) -> Any:
    role, module = role_of(subject), subject.make()
    inputs = role.inputs(module, pictures)
    for number, values in enumerate(predicted(subject, module, inputs)):
        if bad := not_finite(values):
            raise Failed(
                f"{bad[0]!r} of picture {number} is not finite {when}", "look for divisions by a size or a count"
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
