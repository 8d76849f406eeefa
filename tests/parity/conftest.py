"""Which recorded cases run: those of tests/reference, or of the folder that `--reference` names."""

import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
DEFAULT = HERE.parent / "reference"

# Left to `nox -s full`: they take minutes or gigabytes. benchmarks/parity_cases.py measures all; see docs/testing.md.
SLOW = {"faster_rcnn_R_50_C4", "implicit_pointrend_R_50_FPN", "tridentnet_fast_R_50_C4"}
SLOW |= {f"densepose_{name}" for name in ("R_50_FPN_WC1_s1x", "R_50_FPN_WC2_s1x", "cse_R_50_FPN_soft_s1x")}
SLOW |= {"densepose_cse_animals_I0_i2m", "densepose_cse_R_50_FPN_s1x", "densepose_HRNet_w32"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reference", type=Path, help="run every recorded case and operation of this folder")


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


def operations_file(config: pytest.Config, name: str) -> Path:
    """The file of recorded operations of that name: in DIR, or beside its cases; a skip where DIR has none."""
    folder: Path = config.getoption("reference", None) or DEFAULT
    for place in (folder, folder.parent):
        if (place / name).is_file() and (place == folder or folder.name == "cases"):
            return place / name
    pytest.skip(f"{folder} holds no {name}")


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


@pytest.fixture(scope="session")
def densepose_losses() -> ModuleType:
    return load(HERE / "densepose_losses.py")


@pytest.fixture(scope="session")
def operations(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Finds a file of recorded operations by its name."""
    return partial(operations_file, request.config)


@pytest.fixture
def cases(request: pytest.FixtureRequest) -> Path:
    return case_folder(request.config)


@pytest.fixture
def zoo(cases: Path, runner: ModuleType) -> dict[str, Any]:
    """The published configurations that lie beside the folder of the cases, or in it."""
    configurations: dict[str, Any] = runner.zoo_beside(cases)
    return configurations
