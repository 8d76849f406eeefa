"""Everything that is run on this repository: `nox -l` lists it, `nox -s NAME` runs one.

Packages are tested as users get them: built into wheels, installed into an environment that holds nothing else.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "docs", "tests", "together", "third_party"]
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
WHEELHOUSE = ROOT / "dist"
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
ACME = ROOT / "examples" / "det-acme"
TEST_TOOLS = ["pip", "pytest>=8.3", "pytest-timeout>=2.3", "pytest-xdist>=3.6", "hypothesis>=6.100", "hatchling>=1.27"]
CORE_EXTRAS = "plots,fast-eval"
RUFF = "ruff==0.17.6"
SITE_TOOLS = ["mkdocs-material>=9.6,<10", "mkdocstrings[python]>=1.0"]

# The half of core that has to work, and is checked strictly, without torch.
TORCH_FREE = ["errors", "printable", "files", "plugins", "recipes", "zoo", "cli"]

# Also where it is installed beside nox, in an environment that nobody activated.
UV = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))

# The sessions start hundreds of processes; torch is imported in half the time where its compiled files are kept.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_built: dict[Path, Path] = {}


def build_wheel(session: nox.Session, project: Path) -> Path:
    """Build the wheel of one project into the wheelhouse, once in a run; returns its path."""
    if project not in _built:
        target = WHEELHOUSE / ".build" / project.name
        shutil.rmtree(target, ignore_errors=True)
        if UV:
            session.run(UV, "build", "--quiet", "--wheel", "--out-dir", str(target), str(project), external=True)
        else:
            session.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(target), str(project))
        (built,) = target.glob("*.whl")
        _built[project] = Path(shutil.move(built, WHEELHOUSE / built.name))
    return _built[project]


def run_tests(session: nox.Session, *arguments: str, **environment: str) -> None:
    """Run pytest in one process per core, each on one thread: small tensors gain nothing from more."""
    session.run("pytest", "-n", "auto", "--dist", "loadfile", *arguments, env={"OMP_NUM_THREADS": "1", **environment})


def install(session: nox.Session, *projects: Path, extras: str = "", tools: list[str] | None = None) -> None:
    """Install the wheels of these projects, of what they require of this repository, and these tools.

    The extras belong to det-core.
    """
    required = {package(each) for project in projects for each in needed_by(project)}
    wheels = [build_wheel(session, project) for project in sorted({*projects, *required})]
    specs = [f"{wheel}{extras if wheel.name.startswith('det_core') else ''}" for wheel in wheels]
    session.install(*specs, *(tools or []))


def needed_by(project: Path, extra: str = "") -> set[str]:
    """The packages of this repository that a project requires, with one of its extras; not itself."""
    needed: set[str] = set()
    waiting = [(project, extra)]
    while waiting:
        current, own = waiting.pop()
        about = tomllib.loads((current / "pyproject.toml").read_text("utf-8"))["project"]
        lines = [*about["dependencies"], *about.get("optional-dependencies", {}).get(own, [])]
        named = {re.split(r"[\[<>=~! ;]", line, maxsplit=1)[0] for line in lines}
        waiting += [(package(name), "") for name in (named & set(PACKAGES)) - needed]
        needed |= named & set(PACKAGES)
    return needed - {project.name}


def package(name: str) -> Path:
    """Where a package of this repository lives."""
    return ROOT / "packages" / name


@nox.session
def demo(session: nox.Session) -> None:
    """Train, evaluate and predict on real photographs of blood cells; results in runs/demo (about ten minutes)."""
    session.log("[0/5] building and installing det-core and det-inspect; the first time downloads torch")
    install(session, package("det-core"), package("det-inspect"), extras="[plots]")
    session.run("python", "examples/blood-cells/demo.py", *session.posargs)


@nox.session
@nox.parametrize("package_name", PACKAGES, ids=PACKAGES)
def tests(session: nox.Session, package_name: str) -> None:
    """Test one package from its wheel, with core and what its extra `test` names: nox -s "tests(det-core)"."""
    extras = {package_name: "test"} | {"det-core": CORE_EXTRAS + (",test" if package_name == "det-core" else "")}
    wheels = [
        f"{build_wheel(session, package(name))}{f'[{extras[name]}]' if name in extras else ''}"
        for name in sorted({package_name, *needed_by(package(package_name), "test")})
    ]
    session.install(*wheels, *TEST_TOOLS)
    run_tests(session, f"packages/{package_name}/tests", "-m", "not slow", *session.posargs)


@nox.session
def together(session: nox.Session) -> None:
    """Test all packages together, from their wheels: parity, documentation, imports, installed commands."""
    # With uv, the environments of tests/ecosystem take half a minute instead of two.
    install(session, *map(package, PACKAGES), extras="[all]", tools=[*TEST_TOOLS, RUFF, "uv"])
    # The tests import all modules.
    for name, extra in (("det-detectron2", "layer"), ("det-export", "serve"), ("det-inspect", "view")):
        session.install(f"{build_wheel(session, package(name))}[{extra}]")
    run_tests(session, "tests", "-m", "not slow", *session.posargs, DET_WHEELHOUSE=str(WHEELHOUSE))


@nox.session
def third_party(session: nox.Session) -> None:
    """Install the wheel of examples/det-acme beside core as a stranger would; list, build, train and test it."""
    install(session, package("det-core"), package("det-devkit"), ACME, tools=TEST_TOOLS)
    session.run("det", "plugins", "--check")
    output = session.create_tmp()
    session.run(
        *("det", "train", "acme_tiny_faster_rcnn", "--output", f"{output}/run"),
        *("--set", "train.steps=1", "--set", "data.val=null"),
        env={"DET_DATA": str(ROOT / "examples")},
    )
    session.run("pytest", "examples/det-acme/tests", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format with ruff."""
    session.install(RUFF)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation as a site into build/site; a broken link or anchor fails. Nothing of det is imported."""
    session.install(*SITE_TOOLS)
    session.run("mkdocs", "build", "--strict", "--quiet", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy: strictly in the half that works without torch, normally elsewhere."""
    install(session, *map(package, PACKAGES), tools=["mypy>=2.4", "types-PyYAML", "pytest>=8.3"])
    source = package("det-core") / "src" / "det_core"
    strict = [path for name in TORCH_FREE for path in (source / f"{name}.py", source / name) if path.exists()]
    session.run("mypy", "--strict", "--follow-imports=silent", *map(str, strict))
    session.run("mypy", *(str(package(name) / "src") for name in PACKAGES))
    written = Path(session.create_tmp()) / "det-everything"
    shutil.rmtree(written, ignore_errors=True)
    kinds = ("--backbone", "--head", "--model", "--dataset", "--evaluator", "--exporter")
    session.run("det", "new-plugin", "det-everything", *kinds, "--output", str(written), silent=True)
    session.run("mypy", str(written / "src"))


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel and the source archive of every package into dist/, to be used with pip's --find-links."""
    session.install("packaging", "uv")
    session.run("python", ".ci/release.py", "build", str(WHEELHOUSE))


@nox.session
def release(session: nox.Session) -> None:
    """Build all archives, check metadata, licences and changelogs, and run each package alone: -- NAME ... for some."""
    session.install("packaging", "uv")
    session.run("python", ".ci/release.py", "build", str(WHEELHOUSE))
    session.run("python", ".ci/release.py", "check", str(WHEELHOUSE))
    session.run("python", ".ci/release.py", "smoke", str(WHEELHOUSE), *session.posargs)


@nox.session
def full(session: nox.Session) -> None:
    """Run what is too slow for every change: tests marked slow and the benchmarks, after `nox` itself."""
    install(session, *map(package, PACKAGES), extras="[all]", tools=TEST_TOOLS)
    for name, extra in (("det-detectron2", "layer"), ("det-export", "serve"), ("det-inspect", "view")):
        session.install(f"{build_wheel(session, package(name))}[{extra}]")
    session.install(f"{build_wheel(session, package('det-inspect'))}[tensorboard,mlflow,view,wandb]")
    session.install("playwright>=1.50")  # tests of pages use the chromium of the machine
    run_tests(session, *(f"packages/{name}/tests" for name in PACKAGES), "tests", "-m", "slow", *session.posargs)
    for benchmark in sorted((ROOT / "benchmarks").glob("*.py")):
        session.run("python", str(benchmark), env={"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")})
