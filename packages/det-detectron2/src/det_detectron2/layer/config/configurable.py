"""Classes and functions that are called with a `cfg` or with plain arguments, as `detectron2.config.configurable`."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["configurable"]


def configurable(init_func: Callable[..., Any] | None = None, *, from_config: Callable[..., Any] | None = None) -> Any:
    """Let an `__init__`, or a function, also take a `cfg`, which `from_config` turns into its arguments.

    As `@configurable` on the `__init__` of a class with a classmethod `from_config(cls, cfg, ...)`, or as
    `@configurable(from_config=...)` on a function.
    """
    if init_func is not None:
        assert inspect.isfunction(init_func), "@configurable stands on a function or an __init__"
        assert from_config is None, "@configurable on an __init__ takes no from_config: its class has one"
        assert init_func.__name__ == "__init__", "@configurable on a function needs from_config=..."
        return _of_class(init_func)
    if from_config is None:
        return configurable
    assert inspect.isfunction(from_config), "from_config argument of configurable must be a function!"
    return functools.partial(_of_function, from_config)


def _of_class(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            from_config = type(self).from_config
        except AttributeError as error:
            raise AttributeError("Class with @configurable must have a 'from_config' classmethod.") from error
        if not inspect.ismethod(from_config):
            raise TypeError("Class with @configurable must have a 'from_config' classmethod.")
        if _has_config(*args, **kwargs):
            kwargs, args = _arguments(from_config, *args, **kwargs), ()
        init(self, *args, **kwargs)

    return wrapped


def _of_function(from_config: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if _has_config(*args, **kwargs):
            return function(**_arguments(from_config, *args, **kwargs))
        return function(*args, **kwargs)

    wrapped.from_config = from_config  # type: ignore[attr-defined]
    return wrapped


def _arguments(from_config: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What `from_config` gives for its own arguments, over which the others are laid."""
    signature = inspect.signature(from_config)
    if next(iter(signature.parameters), None) != "cfg":
        where = from_config.__name__ if inspect.isfunction(from_config) else f"{from_config.__self__}.from_config"  # type: ignore[attr-defined]
        raise TypeError(f"{where} must take 'cfg' as the first argument!")
    kinds = [each.kind for each in signature.parameters.values()]
    if any(kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD) for kind in kinds):
        return dict(from_config(*args, **kwargs))
    config_kwargs = {name: kwargs.pop(name) for name in list(kwargs) if name in signature.parameters}
    return {**from_config(*args, **config_kwargs), **kwargs}


def _has_config(*args: Any, **kwargs: Any) -> bool:
    return any(map(_is_config, args[:1])) or _is_config(kwargs.get("cfg"))


def _is_config(value: Any) -> bool:
    from det_detectron2.layer.config.node import CfgNode

    return isinstance(value, CfgNode) or type(value).__name__ == "DictConfig"
