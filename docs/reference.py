"""Writes docs/hooks-and-contracts.md from the source of det_core.hooks and det_core.contracts; see include.py."""

import ast
import inspect
from types import ModuleType

from det_core import contracts, hooks

PAGE = "hooks-and-contracts.md"

HEAD = """\
<!-- Written by docs/include.py from det_core.hooks and det_core.contracts: change those, and run it. -->
# Hooks and contracts

A plugin is a module that an installed distribution names in the entry-point group `det`. It has any of these functions,
marked with `@hookimpl`; a contract says what the things behind the names they return must be.
[Your first plugin](first-plugin.md) shows one; [Structures](structures.md) says what flows between the parts.

## Hooks

Each takes no argument and returns names as data. Nothing behind a name is imported before it is used, so a module with
hooks imports nothing but `det_core.hooks`.

"""

BETWEEN = """
What stands behind a name is any callable whose arguments have annotations and can be given by name (no `**kwargs`): a
class, or a function. Its signature is what a recipe can say.

## Contracts

They are Protocols: a class with these attributes and methods fits, without a base class, a decorator or a registration.
Backbones, heads and models are `torch.nn.Module`s too. `python -m det_core.testing NAME` checks a plugin against them.
"""


def page() -> str:
    """The whole page."""
    functions = "\n\n\n".join(_source(hooks, hook) for hook in hooks.HOOKS.values())
    parts = [HEAD, f"```python\n{functions}\n```\n", BETWEEN]
    for name in contracts.__all__:
        hook = hooks.HOOKS.get(hooks.CONTRACTS.get(f"{contracts.__name__}.{name}", ""))
        named = f"Named by `{hook}`." if hook else "Named in recipes by import path."
        parts.append(f"\n### {name}\n\n{named}\n\n```python\n{_source(contracts, name)}\n```\n")
    return "".join(parts)


def _source(module: ModuleType, name: str) -> str:
    """The definition of a name as it stands in its module, without decorators and remarks for type checkers."""
    text = inspect.getsource(module)
    (node,) = [each for each in ast.parse(text).body if getattr(each, "name", "") == name]
    lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
    return "\n".join(line.partition("  # type: ignore")[0] for line in lines)
