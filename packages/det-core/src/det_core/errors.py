"""Errors of det: one tree under `DetError`, each also a natural built-in.

A message reads "where: problem; offending value; fix". It is safe to print: control characters in quoted values are
escaped, and long parts are shortened.
"""

from det_core.printable import printable

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DetError",
    "DetWarning",
    "MissingExtraError",
    "PluginError",
    "RecipeError",
    "StructureError",
    "TrainingError",
    "UnknownNameError",
    "UntrustedError",
    "WeightsError",
]


_LONGEST = 1500  # characters of each part of a message


class DetError(Exception):
    """The root of all deliberate errors of det.

    Args:
        where: the file, the dotted path in a recipe, the component or the argument at fault.
        problem: description of the fault, after `where`.
        found: the offending value, if that helps.
        fix: advice to the user; "" for none.
    """

    def __init__(self, where: str, problem: str, found: str = "", fix: str = "") -> None:
        self.where, self.problem, self.found, self.fix = where, problem, found, fix
        super().__init__(where, problem, found, fix)

    def __str__(self) -> str:
        where, *parts = (printable(part, _LONGEST) for part in (self.where, self.problem, self.found, self.fix))
        return f"{where}: " + "; ".join(part for part in parts if part)


class DetWarning(UserWarning):
    """Something works, but perhaps not as expected."""


class ConfigError(DetError, ValueError):
    """A value, argument or override does not fit its constructor."""


class RecipeError(ConfigError):
    """A file cannot be read as a recipe."""


class UntrustedError(ConfigError):
    """An untrusted recipe names something that is not on the allow list."""


class UnknownNameError(DetError, LookupError):
    """No component or recipe has the given name, or several have."""

    __str__ = DetError.__str__


class PluginError(DetError, RuntimeError):
    """A plugin cannot be imported, or violates the rules of a hook."""


class MissingExtraError(DetError, ImportError):
    """A feature needs a library that only an extra installs."""

    __str__ = DetError.__str__


class StructureError(DetError, ValueError):
    """Tensors have inconsistent or invalid shapes."""


class DataError(DetError, ValueError):
    """An image or an annotation file cannot be used."""


class WeightsError(DetError, ValueError):
    """A weight file cannot be read, or does not fit the model."""


class CheckpointError(DetError, ValueError):
    """A checkpoint cannot be written, read or resumed."""


class TrainingError(DetError, RuntimeError):
    """Training cannot continue."""
