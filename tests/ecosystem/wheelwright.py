"""Makes wheels and environments: the real things, without the internet and without a build tool.

A wheel is a zip archive with a folder of metadata. An environment holds det-core from its wheel and copies of the
libraries that the half of core without torch needs, so that it is made in a second and starts quickly.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

from packaging.requirements import Requirement

UV = shutil.which("uv")
LEFT_OUT = {"torch", "torchvision", "numpy", "pillow", "pycocotools", "safetensors", "rich"}
HOOK = "from det_core.plugins.hooks import hookimpl\n"


def write_wheel(
    folder: Path,
    name: str,
    files: Mapping[str, str | bytes],
    *,
    version: str = "1.0",
    metadata_lines: Iterable[str] = (),
    entry_points: str = "",
) -> Path:
    """Write a wheel of pure Python; `files` are paths in site-packages with their contents."""
    stem = f"{name.replace('-', '_')}-{version}"
    about = "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata_lines]) + "\n"
    kind = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents = {
        **files,
        f"{stem}.dist-info/METADATA": about,
        f"{stem}.dist-info/WHEEL": kind,
        **({f"{stem}.dist-info/entry_points.txt": entry_points} if entry_points else {}),
    }
    record = f"{stem}.dist-info/RECORD"
    rows = [_row(path, _bytes(content)) for path, content in contents.items()]
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in contents.items():
            archive.writestr(path, content)
        archive.writestr(record, "\n".join([*rows, f"{record},,"]) + "\n")
    return wheel


def plugin_wheel(
    folder: Path,
    name: str,
    source: str,
    *,
    version: str = "1.0",
    requires: str = "det-core>=0.1",
    point: str = "",
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write the wheel of a plugin whose one module holds `source`, below the import of `hookimpl`."""
    module = name.replace("-", "_")
    return write_wheel(
        folder,
        name,
        {f"{module}.py": HOOK + dedent(source), **(files or {})},
        version=version,
        metadata_lines=[f"Requires-Dist: {requires}"],
        entry_points=f"[det]\n{point or name} = {module}\n",
    )


def own_wheel(folder: Path, name: str = "det-core") -> Path:
    """The wheel of det-core or det-devkit: the one in DET_WHEELHOUSE, else one made of the package that runs this."""
    own, module = metadata.distribution(name), name.replace("-", "_")
    house = os.environ.get("DET_WHEELHOUSE")
    if house:
        (wheel,) = Path(house).glob(f"{module}-{own.version}-*.whl")
        return wheel
    package = Path(find_spec(module).origin).parent
    files = {
        path.relative_to(package.parent).as_posix(): path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    lines = [line for line in own.read_text("METADATA").split("\n\n")[0].splitlines() if _is_needed(line)]
    entry_points = own.read_text("entry_points.txt")
    return write_wheel(folder, name, files, version=own.version, metadata_lines=lines, entry_points=entry_points)


class Environment:
    """A virtual environment with core, in which commands are run as users run them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if UV:
            _run([UV, "venv", "--quiet", "--no-project", "--python", sys.executable, str(folder)])
        else:
            venv.create(folder, with_pip=True)
        scripts = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python, self.command = str(scripts / "python"), str(scripts / "det")
        where = _run([self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
        self.site = Path(where.stdout.strip())
        for name in _libraries():
            _copy(metadata.distribution(name), self.site)

    def install(self, *wheels: Path) -> None:
        """Install wheels, in this order."""
        self._pip("install", "--no-index", "--no-deps", *map(str, wheels))

    def uninstall(self, *names: str) -> None:
        """Uninstall distributions."""
        self._pip("uninstall", *([] if UV else ["--yes"]), *names)

    def det(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command `det`."""
        return _run([self.command, *arguments], variables, check=False)

    def code(self, source: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `python -c`."""
        return _run([self.python, "-c", dedent(source)], variables, check=False)

    def plugins(self, **variables: str) -> dict[str, dict]:
        """What `det plugins --json` says of each distribution."""
        return {plugin["distribution"]: plugin for plugin in json.loads(self.listed(**variables))["plugins"]}

    def listed(self, **variables: str) -> str:
        """What `det plugins --json` prints."""
        result = self.det("plugins", "--json", **variables)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def _pip(self, action: str, *arguments: str) -> None:
        if UV:
            _run([UV, "pip", action, "--quiet", "--no-config", "--offline", "--python", self.python, *arguments])
        else:
            _run([self.python, "-m", "pip", "--quiet", "--disable-pip-version-check", action, *arguments])


def _libraries() -> list[str]:
    """What core requires and what that requires in turn, without torch and what the other half needs."""
    found: dict[str, None] = {}
    waiting = ["det-core"]
    while waiting:
        for text in metadata.requires(waiting.pop()) or ():
            requirement = Requirement(text)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if applies and requirement.name.lower() not in {*LEFT_OUT, *found}:
                found[requirement.name.lower()] = None
                waiting.append(requirement.name)
    return list(found)


def _copy(distribution: metadata.Distribution, site: Path) -> None:
    """Put the files of an installed distribution where an installer would."""
    for file in distribution.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts and Path(file.locate()).is_file():
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file.locate(), target)


def _run(
    command: list[str], variables: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command in an environment that nothing of ours leaks into."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DET_", "PYTHON", "VIRTUAL_ENV"))}
    everything = {**kept, "COLUMNS": "100", "NO_COLOR": "1", **(variables or {})}
    result = subprocess.run(command, env=everything, capture_output=True, text=True, timeout=120, check=False)
    if check and result.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{result.stdout}{result.stderr}")
    return result


def _is_needed(line: str) -> bool:
    return line.startswith(("Requires-", "Provides-Extra"))


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _row(path: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(content)}"
