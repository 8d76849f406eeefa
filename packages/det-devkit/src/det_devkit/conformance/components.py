"""Checks of any component: its target, its signature, and its construction."""

import inspect
from collections.abc import Callable
from typing import Any

from det_core.recipes.signatures import NOTHING, name_of, type_hint

from det_devkit.conformance.report import Failed, check
from det_devkit.conformance.subject import Subject

__all__ = ["COMPONENT"]


@check("its target can be imported", gate=True)
def imported(subject: Subject) -> None:
    """The "package.module:attribute" of the hook leads to something callable."""
    if not callable(subject.target):
        raise Failed(f"{subject.target!r} cannot be called", "name a class or a function")


@check("a recipe can name every argument", gate=True)
def named(subject: Subject) -> None:
    """Its constructor takes no `*args`, no `**kwargs` and no positional-only arguments."""
    try:
        parameters = inspect.signature(subject.target).parameters.values()
    except (ValueError, TypeError) as error:
        raise Failed(f"its signature cannot be read ({error})", "write it in Python, with named arguments") from None
    odd = {
        inspect.Parameter.VAR_KEYWORD: "takes **{}, which lets misspelt names pass",
        inspect.Parameter.VAR_POSITIONAL: "takes *{}, which no recipe can give",
        inspect.Parameter.POSITIONAL_ONLY: "takes {} by position alone",
    }
    for parameter in parameters:
        if parameter.kind in odd:
            problem = f"{name_of(subject.target)} {odd[parameter.kind].format(parameter.name)}"
            raise Failed(problem, "name every argument in the signature")


@check("every argument has an annotation that resolves")
def annotated(subject: Subject) -> None:
    """Annotations are the schema of a recipe; arguments without one accept any value unchecked."""
    if faults := _unresolved(subject.target):
        fix = "annotate it, and import at run time what the annotation names (not only under TYPE_CHECKING)"
        raise Failed("; ".join(f"argument {name!r} {fault}" for name, fault in faults.items()), fix)


@check("it can be made", gate=True)
def instantiated(subject: Subject) -> None:
    """From its defaults, the kit's placeholders, the given example, or the plugin's own recipes."""
    subject.make()


COMPONENT = (imported, named, annotated, instantiated)


def _unresolved(target: Callable[..., Any]) -> dict[str, str]:
    """The arguments whose values pass unchecked, and why: no annotation, or one that cannot be resolved."""
    faults = {}
    for parameter in inspect.signature(target).parameters.values():
        if parameter.annotation is NOTHING:
            faults[parameter.name] = "has no annotation"
            continue
        try:
            type_hint(parameter, target)
        except Exception as error:
            faults[parameter.name] = f"is annotated {parameter.annotation!r}, which does not resolve: {error}"
    return faults
