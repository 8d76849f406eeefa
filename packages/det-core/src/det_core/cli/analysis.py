"""The analysis that `det eval` adds to metrics, where an installed plugin offers one under the name "analysis".

No torch is needed here.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from det_core.errors import ConfigError
from det_core.plugins import known, registry

if TYPE_CHECKING:
    from det_core.contracts import Analysis
    from det_core.recipes import Factory

__all__ = ["installed_analysis"]

_NAME = "analysis"


def installed_analysis(options: Sequence[str] = (), option: str = "") -> "Factory[Analysis] | None":
    """The evaluator named "analysis", with `options` as arguments of its constructor; None if no plugin offers one.

    Args:
        options: "NAME=VALUE", each value in YAML.
        option: the option of the command line that needs an analysis, "" if none does.

    Raises:
        ConfigError: an analysis is needed and there is none, or an option is malformed or not an argument of it.
        UnknownNameError: two plugins offer one.
    """
    components = [component for component in registry.components("evaluators") if component.name == _NAME]
    if not components:
        if option:
            package = known.provider(_NAME)
            raise ConfigError(option, "needs an analysis, which no plugin in use offers", fix=known.hint(package))
        return None
    from det_core.recipes import yaml as yamlfile
    from det_core.recipes.check import Factory, check

    node: dict[str, Any] = {"type": registry.find("evaluators", _NAME).qualified}
    for text in options:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigError(
                f"--analysis {text!r}", "is not an option of an analysis", fix="one reads 'channels=true'"
            )
        node[name] = yamlfile.parse(value, f"--analysis {text!r}")
    analysis: Factory[Analysis] = check(node, Factory[Any], "--analysis").build()
    return analysis
