"""The folder that `det predict` writes: of one run only, and never over files of others."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from det_core.errors import ConfigError

__all__ = ["OutputFolder"]

_LIST = ".det-predict.json"


class OutputFolder:
    """A folder, with a list of the files that the newest run has written, which the next one removes.

    Args:
        path: the folder, which need not be there.

    Raises:
        ConfigError: it holds a file that no run has written, or that was changed since.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._earlier = path, _read_list(path / _LIST)
        for name, state in self._files():
            if self._earlier.get(name) != state:
                fix = "choose a new or an empty folder"
                raise ConfigError("--output", f"{path} holds a file that det predict did not write", name, fix)

    def open(self) -> None:
        """Make the folder, and remove the files of an earlier run from it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for name in self._earlier:
                (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError("--output", "the folder cannot be made or emptied", str(error)) from error

    def close(self) -> str:
        """Write the list of the files that there are now, and name them: "2 .jpg files, 7 files in crops/"."""
        files = dict(self._files())
        (self.path / _LIST).write_text(json.dumps(files), encoding="utf-8")
        groups: dict[str, list[str]] = {}
        for name in sorted(files):
            folder, slash, _ = name.partition("/")
            groups.setdefault(f"files in {folder}/" if slash else f"{Path(name).suffix} files", []).append(name)
        return ", ".join(names[0] if len(names) == 1 else f"{len(names)} {kind}" for kind, names in groups.items())

    def _files(self) -> Iterator[tuple[str, list[int]]]:
        """Name, and size and time of the last change, of each file except the list."""
        for path in self.path.rglob("*"):
            if path.name != _LIST and (path.is_symlink() or not path.is_dir()):
                stat = path.lstat()
                yield path.relative_to(self.path).as_posix(), [stat.st_size, stat.st_mtime_ns]


def _read_list(path: Path) -> Mapping[str, list[int]]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
