"""Detectors of a server: from a checkpoint, or an export of it that another runtime computes."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from det_core.engine.run import RunFolder
from det_core.errors import ConfigError
from det_core.predict import Detector

from det_export.exported import ExportedModel

__all__ = ["RUNTIMES", "file_of", "loader", "named"]

RUNTIMES = ("eager", "onnx", "aoti")


def named(models: Sequence[str]) -> dict[str, str]:
    """Name -> source of models given as SOURCE or NAME=SOURCE; names are those of a file, or of the folder of a run.

    Raises:
        ConfigError: two models have one name.
    """
    sources: dict[str, str] = {}
    for text in models:
        name, separator, source = text.partition("=")
        if not separator or "/" in name or "\\" in name:
            name, source = _name_of(text), text
        if name in sources:
            raise ConfigError("det serve", "two models have one name", name, "give NAME=MODEL")
        sources[name] = source
    return sources


def _name_of(source: str) -> str:
    path = Path(source)
    return path.parent.name if path.stem in ("best", "last") and path.parent.name else path.stem


def file_of(source: str) -> Path | None:
    """The file that a model is read from; None of a published model or an address."""
    path = Path(source)
    if path.is_dir():
        return RunFolder(path).newest_good
    return path if path.is_file() else None


def loader(
    source: str, runtime: str | None = None, batch: int = 1, device: str | None = None, trust: bool = False
) -> Callable[[], Detector]:
    """A function that loads a model again and again.

    Args:
        source: checkpoint, exported file or recipe, for `Detector.load`.
        runtime: one of `RUNTIMES`; "onnx" and "aoti" export the model to a temporary file first. None: "eager", or that
            of an exported file.
        batch: maximum number of images per call of the model.
        device: torch device; None for the best available one.
        trust: whether the checkpoint may run code of its recipe.
    """

    def load() -> Detector:
        detector = Detector.load(source, device="cpu" if runtime in ("onnx", "aoti") else device, trust=trust)
        if runtime is None or (runtime == "eager" and not isinstance(detector.model, ExportedModel)):
            return detector
        if isinstance(detector.model, ExportedModel):
            fix = "leave out --runtime, or name the checkpoint"
            raise ConfigError("--runtime", "is not for a file that was exported already", source, fix)
        return _exported(detector, runtime, batch)

    return load


def _exported(detector: Detector, runtime: str, batch: int) -> Detector:
    options: dict[str, Any] = {"dynamic_batch": True} if batch > 1 else {}
    with tempfile.TemporaryDirectory(prefix="det-serve-") as folder:
        suffix = {"onnx": ".onnx", "aoti": ".pt2"}[runtime]
        file = detector.export(runtime, Path(folder) / f"model{suffix}", (416, 544), **options)
        exported = Detector.load(file, device="cpu", trust=True)  # written here, a moment ago
    exported.threshold = detector.threshold
    return exported
