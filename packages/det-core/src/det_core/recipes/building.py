"""Builds a model within a budget of layers and numbers, which a recipe of three lines may ask for by the million."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from det_core.errors import ConfigError

__all__ = ["built_within_budget"]

T = TypeVar("T")

LAYERS = 5_000
"""Modules, parameters and buffers that a model may have; the largest published ones have 3 400."""
NUMBERS = 2**33
"""Numbers in the parameters and buffers of a model; the largest published one has less than 2**30."""


class _TooLargeError(ConfigError):
    pass


def built_within_budget(build: Callable[[], T]) -> T:
    """The result of `build`, which is called first on the device "meta", without memory for numbers.

    Other errors of the first call are ignored: the second call raises them.

    Raises:
        ConfigError: the model has more than LAYERS modules, or NUMBERS numbers.
    """
    import torch

    if torch.get_default_device().type != "meta":
        try:
            with torch.random.fork_rng(devices=[]), torch.device("meta"), warnings.catch_warnings(), _counted():
                warnings.simplefilter("ignore")
                build()
        except _TooLargeError:
            raise
        except Exception:
            pass  # the second build raises it again
    with _counted():
        return build()


@contextlib.contextmanager
def _counted() -> Iterator[None]:
    """Count the submodules, parameters and buffers that modules register."""
    from torch.nn.modules import module as hooks

    layers = numbers = 0

    def count_layer(owner: Any, name: str, part: Any) -> None:
        nonlocal layers
        layers += 1
        if layers > LAYERS:
            fix = "correct the number of layers that is far too large"
            raise _TooLargeError("the model", f"asks for more than {LAYERS} layers", fix=fix)

    def count_numbers(owner: Any, name: str, part: Any) -> None:
        nonlocal numbers
        count_layer(owner, name, part)
        numbers += part.numel() if part is not None and hasattr(part, "numel") else 0
        if numbers > NUMBERS:
            fix = "correct the number of channels or classes that is far too large"
            raise _TooLargeError("the model", f"asks for more than {NUMBERS} numbers", fix=fix)

    with contextlib.ExitStack() as stack:
        for register, count in (
            (hooks.register_module_module_registration_hook, count_layer),
            (hooks.register_module_parameter_registration_hook, count_numbers),
            (hooks.register_module_buffer_registration_hook, count_numbers),
        ):
            stack.callback(register(count).remove)
        yield
