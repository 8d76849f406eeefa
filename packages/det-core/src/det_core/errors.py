"""What det raises: one tree under `DetError`, each also a natural built-in.

A message reads "where: what is wrong; what was found; what to do". It can be printed as it is: control characters of
the values that it quotes are escaped, and what is long is cut.
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
    """The root of every error that det raises on purpose.

    Args:
        where: the file, the dotted path in a recipe, the component or the argument at fault.
        problem: what is wrong there.
        found: what stood there instead, if that helps.
        fix: what the reader should do next.
    """

    def __init__(self, where: str, problem: str, found: str = "", fix: str = "") -> None:
        self.where, self.problem, self.found, self.fix = where, problem, found, fix
        super().__init__(where, problem, found, fix)

    def __str__(self) -> str:
        where, *parts = (printable(part, _LONGEST) for part in (self.where, self.problem, self.found, self.fix))
        return f"{where}: " + "; ".join(part for part in parts if part)


class DetWarning(UserWarning):
    """Something works, but perhaps not as the reader expects."""


class ConfigError(DetError, ValueError):
    """A value, argument or override does not fit the constructor it is meant for."""


class RecipeError(ConfigError):
    """A file cannot be read as a recipe."""


class UntrustedError(ConfigError):
    """A recipe that came inside a file names something that is on no list of what such a recipe may build."""


class UnknownNameError(DetError, LookupError):
    """No component or recipe has the name that was asked for, or several do."""

    __str__ = DetError.__str__


class PluginError(DetError, RuntimeError):
    """A plugin cannot be imported, or breaks the rules of a hook."""


class MissingExtraError(DetError, ImportError):
    """A feature needs a library that only an extra installs."""

    __str__ = DetError.__str__


class StructureError(DetError, ValueError):
    """Tensors do not have the shapes that belong together."""


class DataError(DetError, ValueError):
    """An image or an annotation file cannot be used."""


class WeightsError(DetError, ValueError):
    """A weight file cannot be read, or does not fit the model."""


class CheckpointError(DetError, ValueError):
    """A checkpoint cannot be written, read or continued."""


class TrainingError(DetError, RuntimeError):
    """Training cannot go on."""
