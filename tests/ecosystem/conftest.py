"""One environment for all tests of this folder; what a test installs there it takes away again."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from wheelwright import Environment, own_wheel


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> Environment:
    """An environment that holds core, and det-devkit for its doctor."""
    made = Environment(tmp_path_factory.mktemp("environment") / "venv")
    made.install(*(own_wheel(tmp_path_factory.mktemp("own"), name) for name in ("det-core", "det-devkit")))
    return made


@pytest.fixture(scope="module")
def holding(environment) -> Iterator[Callable[..., Environment]]:
    """Installs wheels for the tests of one file; returns the environment."""
    names: list[str] = []

    def install(*wheels: Path) -> Environment:
        environment.install(*wheels)
        names.extend(wheel.name.partition("-")[0] for wheel in wheels)
        return environment

    yield install
    if names:
        environment.uninstall(*names)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """A folder for wheels."""
    return tmp_path_factory.mktemp("wheels")
