"""Selection of the backbone levels of a head."""

from collections.abc import Mapping, Sequence

from det_core.errors import ConfigError

__all__ = ["select_levels"]


def select_levels(
    where: str,
    channels: Mapping[str, int],
    in_features: Sequence[str] | None,
    strides: Mapping[str, int] | None = None,
    *,
    equal_channels: bool = True,
) -> tuple[str, ...]:
    """The levels called `in_features`; by default all of them, or, with `strides`, all up to stride 32.

    Raises:
        ConfigError: no level, an unknown level, or different channels although `equal_channels`.
    """
    default = [name for name in channels if strides is None or strides[name] <= 32]
    names = default if in_features is None else list(in_features)
    if not names or any(name not in channels for name in names):
        found = f"got {names}; there are {', '.join(channels)}"
        raise ConfigError(f"{where}.in_features", "must name levels of the backbone", found)
    if equal_channels and len({channels[name] for name in names}) != 1:
        found = f"got {[channels[name] for name in names]}"
        raise ConfigError(f"{where}.in_features", "must have as many channels at every level", found)
    return tuple(names)
