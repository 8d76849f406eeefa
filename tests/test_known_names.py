"""An error of core recommends the package that brings a name, for every name of every package."""

import pytest
from det_core.plugins import known, registry
from det_core.plugins.hooks import COMPONENTS


@pytest.mark.parametrize("kind", [*COMPONENTS, "recipes", "commands"])
def test_provider_of_every_name_is_its_package(kind: str) -> None:
    offered = {(part.name, part.qualified.partition("/")[0]) for part in registry.components(kind)}
    core = {each for each in offered if each[1].startswith("det-core")}
    assert offered
    wrong = {name: package for name, package in offered - core if known.provider(name, kind) != package}
    assert not wrong
    assert not {name: known.provider(name, kind) for name, _ in core if known.provider(name, kind)}
