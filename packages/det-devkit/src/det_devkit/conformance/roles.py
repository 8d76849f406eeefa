"""How the kit uses a component of each kind: what a parent gives it, and what it is asked."""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from det_devkit.conformance.report import DoesNotApply, Failed
from det_devkit.conformance.scenes import Scene

__all__ = ["ModuleRole", "Plain", "Role", "require_members", "require_module"]


class Role(Protocol):
    """What a component is for."""

    def parents(self) -> Mapping[str, Any]:
        """The arguments that a parent gives to the parts that it builds."""
        ...


class ModuleRole(Role, Protocol):
    """What a network is for, as far as any network can be judged alike."""

    def require(self, module: Any, scene: Scene) -> None:
        """Raise Failed where the contract is not kept, as these pictures show."""
        ...

    def inputs(self, module: Any, scene: Scene) -> Any:
        """What the network is given for these pictures, on the CPU; a structure of tensors that `convert` can walk."""
        ...

    def predict(self, module: Any, inputs: Any) -> list[dict[str, Tensor]]:
        """What the network says of each picture, as named tensors."""
        ...

    def losses(self, module: Any, inputs: Any) -> dict[str, Tensor]:
        """What training would add up."""
        ...

    def exportable(self, module: Any, inputs: Any) -> tuple[nn.Module, tuple[Any, ...]]:
        """The part of fixed shapes and its arguments; raises DoesNotApply where there is none."""
        ...


@dataclass(frozen=True)
class Plain:
    """A component that is no network."""

    given: Mapping[str, Any]

    def parents(self) -> Mapping[str, Any]:
        """What it was made with."""
        return self.given


def require_module(module: Any) -> None:
    """Raise Failed for what is no network."""
    if not isinstance(module, nn.Module):
        raise Failed(f"it makes a {type(module).__name__}, not an nn.Module", "derive it from torch.nn.Module")


def require_members(thing: Any, contract: type, names: tuple[str, ...]) -> None:
    """Raise Failed where `thing` lacks an attribute or method of the contract."""
    methods = [name for name in names if callable(getattr(contract, name, None))]
    missing = [name for name in names if not hasattr(thing, name)]
    missing += [name for name in methods if name not in missing and not callable(getattr(thing, name))]
    if missing:
        problem = f"{type(thing).__name__} is no {contract.__name__}: it lacks {', '.join(map(repr, missing))}"
        raise Failed(problem, f"see {contract.__module__}.{contract.__name__}")


def class_behind(target: Callable[..., Any]) -> type | None:
    """The class that a callable makes, as far as its return annotation tells."""
    if isinstance(target, type):
        return target
    try:
        returned = typing.get_type_hints(target).get("return")
    except Exception:
        return None  # annotations are judged by a check of their own
    return returned if inspect.isclass(returned) else None


def not_exportable(reason: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """For roles that have no part of fixed shapes."""
    raise DoesNotApply(reason)
