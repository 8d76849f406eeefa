"""Which recorded cases run: those of tests/reference, or of the folder that `--reference` names."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
DEFAULT = HERE.parent / "reference"

# Left to `nox -s full`: they take minutes or gigabytes. benchmarks/parity_cases.py measures all; see docs/testing.md.
SLOW = {"faster_rcnn_R_50_C4", "implicit_pointrend_R_50_FPN", "tridentnet_fast_R_50_C4"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reference", type=Path, help="run every recorded case of this folder")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case_name" in metafunc.fixturenames:
        folder = case_folder(metafunc.config)
        names = sorted(file.name.removesuffix(".json.gz") for file in folder.glob("*.json.gz"))
        if not names:
            raise pytest.UsageError(f"--reference: {folder} holds no recorded case (NAME.json.gz and NAME.npz)")
        marks = {name: [pytest.mark.slow, pytest.mark.timeout(1800)] if name in SLOW else [] for name in names}
        metafunc.parametrize("case_name", [pytest.param(name, marks=marks[name]) for name in names])


def case_folder(config: pytest.Config) -> Path:
    """The folder of the cases: DIR, or DIR/cases."""
    folder: Path = config.getoption("reference", None) or DEFAULT
    return folder / "cases" if (folder / "cases").is_dir() else folder


def load(path: Path) -> ModuleType:
    """A module from its file; tests are no package."""
    name = f"parity_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def refpack() -> ModuleType:
    return load(DEFAULT / "refpack.py")


@pytest.fixture(scope="session")
def runner() -> ModuleType:
    return load(HERE / "runner.py")


@pytest.fixture
def cases(request: pytest.FixtureRequest) -> Path:
    return case_folder(request.config)


@pytest.fixture
def zoo(cases: Path, runner: ModuleType) -> dict[str, Any]:
    """The published configurations that lie beside the folder of the cases, or in it."""
    configurations: dict[str, Any] = runner.zoo_beside(cases)
    return configurations
