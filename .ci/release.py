"""What a release needs: archives of every package, complete, and each package usable alone with the cores it allows.

    python .ci/release.py build dist        # a wheel and a source archive of every package, with uv
    python .ci/release.py check dist        # metadata, licences, changelogs, contents
    python .ci/release.py smoke dist [NAME ...]   # each package alone, with the lowest and the newest core in dist

Only Python's own library, packaging and uv are used. Exits with 1 and a line for each fault.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = {path.parent.name: path.parent for path in sorted(ROOT.glob("packages/*/pyproject.toml"))}
UV = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
# Not plugins: required by core, and usable without it.
LIBRARIES = ("det-safeload",)
SMOKE = (("det", "--version"), ("det", "--help"), ("det", "recipes"), ("det", "plugins", "--check"))


def build(wheelhouse: Path) -> list[str]:
    """Build everything into the wheelhouse; returns what failed."""
    wheelhouse.mkdir(parents=True, exist_ok=True)

    def one(name: str) -> str:
        command = [UV, "build", "--quiet", "--out-dir", str(wheelhouse), str(PROJECTS[name])]
        done = subprocess.run(command, capture_output=True, text=True)
        return f"{name}: is not built: {done.stderr.strip()[-2000:]}" if done.returncode else ""

    with ThreadPoolExecutor(4) as pool:
        return [fault for fault in pool.map(one, PROJECTS) if fault]


def version_of(name: str) -> str:
    """The version in a package's pyproject.toml."""
    version: str = tomllib.loads((PROJECTS[name] / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    return version


def check(wheelhouse: Path) -> list[str]:
    """Everything that is wrong with the archives of the present versions."""
    return [f"{name}: {fault}" for name in PROJECTS for fault in faults_of(name, wheelhouse)]


def faults_of(name: str, wheelhouse: Path) -> Iterator[str]:
    """What is wrong with the archives of one package."""
    version, module = version_of(name), name.replace("-", "_")
    heading = re.search(r"^## (\S+)", (PROJECTS[name] / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    if heading is None or heading[1] != version:
        yield f"the first heading of CHANGELOG.md is not of {version}"
    wheel = wheelhouse / f"{module}-{version}-py3-none-any.whl"
    archive = wheelhouse / f"{module}-{version}.tar.gz"
    for path in (wheel, archive):
        if not path.is_file():
            yield f"there is no {path.name}; run `build`"
    if wheel.is_file():
        yield from _faults_of_wheel(wheel, name, version, module)
    if archive.is_file():
        with tarfile.open(archive) as opened:
            files = {each.partition("/")[2] for each in opened.getnames()}
        wanted = ["pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", f"src/{module}/__init__.py"]
        yield from (f"{archive.name} has no {each}" for each in wanted if each not in files)
        if not any(each.startswith("tests/test_") for each in files):
            yield f"{archive.name} has no tests"


def _faults_of_wheel(wheel: Path, name: str, version: str, module: str) -> Iterator[str]:
    with zipfile.ZipFile(wheel) as opened:
        files = set(opened.namelist())
        info = f"{module}-{version}.dist-info"
        metadata = HeaderParser().parsestr(opened.read(f"{info}/METADATA").decode())
        points = opened.read(f"{info}/entry_points.txt").decode() if f"{info}/entry_points.txt" in files else ""
    for key, expected in (("Name", name), ("Version", version), ("License-Expression", "Apache-2.0")):
        if metadata[key] != expected:
            yield f"{wheel.name}: {key} is {metadata[key]!r}, not {expected!r}"
    if metadata["Description-Content-Type"] != "text/markdown" or not str(metadata.get_payload()).strip():
        yield f"{wheel.name}: has no description in Markdown"
    if not metadata["Summary"] or not metadata["Requires-Python"]:
        yield f"{wheel.name}: has no summary, or no Requires-Python"
    yield from (
        f"{wheel.name}: has no {each}"
        for each in (f"{info}/licenses/LICENSE", f"{module}/py.typed", f"{module}/__init__.py")
        if each not in files
    )
    if strange := sorted({each.partition("/")[0] for each in files} - {module, info}):
        yield f"{wheel.name}: also holds {', '.join(strange)}"
    if name not in LIBRARIES and f"[det]\n{name} = " not in points:
        yield f"{wheel.name}: has no entry point {name} in the group det"
    for required in map(Requirement, metadata.get_all("Requires-Dist") or ()):
        if canonicalize_name(required.name) in PROJECTS and {each.operator for each in required.specifier} != {
            ">=",
            "<",
        }:
            yield f"{wheel.name}: {required} is not bounded on both sides"


def cores(name: str, wheelhouse: Path) -> list[Version]:
    """The lowest and the newest core of the wheelhouse that a package allows; the present one for what core needs."""
    if name in ("det-core", *LIBRARIES):
        return [Version(version_of("det-core"))]
    project = tomllib.loads((PROJECTS[name] / "pyproject.toml").read_text("utf-8"))["project"]
    (allowed,) = (Requirement(each) for each in project["dependencies"] if each.startswith("det-core"))
    found = sorted(parse_wheel_filename(path.name)[1] for path in wheelhouse.glob("det_core-*.whl"))
    fitting = [version for version in found if allowed.specifier.contains(version, prereleases=True)]
    return sorted({fitting[0], fitting[-1]}) if fitting else []


def smoke(wheelhouse: Path, names: list[str]) -> list[str]:
    """Install each package alone, with what it requires, and run its commands; returns what failed."""
    pairs = [(name, core) for name in names or PROJECTS for core in cores(name, wheelhouse)]
    faults = [f"{name}: no core of {wheelhouse} is allowed" for name in {*(names or PROJECTS)} - {n for n, _ in pairs}]

    def one(pair: tuple[str, Version]) -> list[str]:
        name, core = pair
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="det-release-") as folder:
            own = list(_faults_of_installation(name, core, wheelhouse, Path(folder)))
        seconds = f"({time.monotonic() - start:.0f} s)"
        print("\n".join(own) or f"{name} with det-core {core}: works", seconds, flush=True)
        return own

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return faults + [fault for own in pool.map(one, pairs) for fault in own]


def _faults_of_installation(name: str, core: Version, wheelhouse: Path, folder: Path) -> Iterator[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "DET_DISABLE_PLUGINS")}
    binaries = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = binaries / "python"
    specs = {f"{name}=={version_of(name)}", f"det-core=={core}"}
    install = (UV, "pip", "install", "--quiet", "--python", str(python), "--find-links", str(wheelhouse))
    # A wheel that was built anew has the name of the one in uv's cache.
    fresh = [word for each in PROJECTS for word in ("--refresh-package", each)]
    commands = (
        (UV, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")),
        (*install, *fresh, *sorted(specs)),
        *((str(binaries / command[0]), *command[1:]) for command in SMOKE),
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
        if done.returncode:
            words = " ".join((done.stdout + done.stderr).split())[-1500:]
            yield f"{name} with det-core {core}: `{' '.join(command[-6:])}` fails: {words}"
            return


def main() -> None:
    """Run one step and exit with 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("build", "check", "smoke"))
    parser.add_argument("wheelhouse", type=Path)
    parser.add_argument("names", nargs="*", help="packages, for smoke")
    arguments = parser.parse_args()
    wheelhouse = arguments.wheelhouse.resolve()
    start = time.monotonic()
    if arguments.step == "smoke":
        faults = smoke(wheelhouse, arguments.names)
    else:
        faults = (build if arguments.step == "build" else check)(wheelhouse)
    print(f"{arguments.step}: {len(PROJECTS)} packages, {len(faults)} faults ({time.monotonic() - start:.0f} s)")
    for fault in faults:
        print(f"  {fault}", file=sys.stderr)
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
