"""Names of a new plugin and its parts, and reserved names."""

import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from importlib import metadata

from det_core.errors import ConfigError
from det_core.plugins import CORE, canonical
from det_core.plugins.known import PACKAGES

__all__ = ["Names", "check_name"]

_FORM = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", re.IGNORECASE)


@dataclass(frozen=True)
class Names:
    """The names derived from that of a distribution.

    Attributes:
        distribution: normalized distribution name, such as "det-acme".
        module: import name of the package, such as "det_acme".
        prefix: prefix of component names, "acme".
        class_prefix: prefix of class names, "Acme".
    """

    distribution: str
    module: str
    prefix: str
    class_prefix: str


def check_name(name: str) -> Names:
    """The names of a plugin called `name`, once it is validated.

    Raises:
        ConfigError: it is no valid distribution name, its module cannot be imported, or it is taken.
    """
    where = f"the name {name!r}"
    if not _FORM.fullmatch(name):
        module_spec = "letters, digits and single hyphens, such as 'det-acme', make one"
        raise ConfigError(where, "is not a name for a distribution", module_spec)
    distribution = canonical(name)
    module = distribution.replace("-", "_")
    if not module.isidentifier() or keyword.iskeyword(module):
        raise ConfigError(where, f"cannot be imported as {module!r}", fix=f"take another, such as 'det-{distribution}'")
    if owner := _owner(distribution, module):
        raise ConfigError(where, f"is taken: {owner}", fix="take another")
    short = re.sub(r"^det_|_det$", "", module)
    # "det-3d" has no short name that a class could start with.
    prefix = short if short.isidentifier() and not keyword.iskeyword(short) else module
    return Names(distribution, module, prefix, "".join(part[:1].upper() + part[1:] for part in prefix.split("_")))


def _owner(distribution: str, module: str) -> str:
    """The owner of a name that is taken; "" if it is free."""
    if distribution == CORE or distribution in PACKAGES:
        return f"{distribution} is a package of det's own project"
    try:
        return f"{distribution} {metadata.version(distribution)} is installed"
    except metadata.PackageNotFoundError:
        pass
    if module in sys.stdlib_module_names:
        return f"Python itself has a module {module!r}"
    module_spec = importlib.util.find_spec(module)
    # A folder without __init__.py is a namespace package; it may just be the folder of an earlier attempt.
    return f"there is a module {module!r} already, {module_spec.origin}" if module_spec and module_spec.origin else ""
