"""Configurations that are Python files, as `detectron2.config.lazy`."""

import ast
import builtins
import contextlib
import dataclasses
import importlib.machinery
import importlib.util
import inspect
import logging
import pickle
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf

from det_detectron2.layer.utils.registry import _convert_target_to_string

__all__ = ["LazyCall", "LazyConfig"]

_PACKAGE = "_detectron2_config_"


class LazyCall:
    """A call that is made later: `LazyCall(Class)(a=1)` is a tree with `_target_`, for `instantiate`."""

    def __init__(self, target: Any) -> None:
        if not (callable(target) or isinstance(target, str | Mapping)):
            raise TypeError(f"target of LazyCall must be a callable or defines a callable! Got {target}")
        self._target = target

    def __call__(self, **kwargs: Any) -> DictConfig:
        """The tree."""
        target = self._target
        if dataclasses.is_dataclass(target):
            target = _convert_target_to_string(target)
        tree: dict[Any, Any] = {"_target_": target, **kwargs}
        return DictConfig(tree, flags={"allow_objects": True})


class LazyConfig:
    """Loads, saves and overrides such configurations."""

    @staticmethod
    def load_rel(filename: str, keys: str | tuple[str, ...] | None = None) -> Any:
        """As `load`, with a path relative to the file of the caller."""
        caller = inspect.stack()[1].filename
        assert caller != "<string>", "load_rel Unable to find caller"
        return LazyConfig.load(str(Path(caller).parent / filename), keys)

    @staticmethod
    def load(filename: str, keys: str | tuple[str, ...] | None = None) -> Any:
        """The variables of a file, or some of them; a Python file is run, with relative imports of other such files.

        Args:
            filename: path of a Python file, or of a YAML file written by `save`.
            keys: names of the variables to return; None returns all mappings, lists and plain values.
        """
        filename = str(filename)
        suffix = Path(filename).suffix
        if suffix not in (".py", ".yaml", ".yml"):
            raise ValueError(f"Config file {filename} has to be a python or yaml file.")
        config: Any
        if suffix == ".py":
            _check_syntax(filename)
            with _relative_imports():
                space = {"__file__": filename, "__package__": _package(filename)}
                exec(compile(Path(filename).read_text("utf-8"), filename, "exec"), space)
            config = space
        else:
            config = OmegaConf.create(yaml.safe_load(Path(filename).read_text("utf-8")), flags={"allow_objects": True})
        if keys is not None:
            return _tree(config[keys]) if isinstance(keys, str) else tuple(_tree(config[key]) for key in keys)
        if suffix == ".py":
            values = {
                name: _tree(value)
                for name, value in config.items()
                if isinstance(value, dict | list | DictConfig | ListConfig | int | float | str | bool)
                and not name.startswith("_")
            }
            config = DictConfig(values, flags={"allow_objects": True})
        return config

    @staticmethod
    def save(cfg: Any, filename: str) -> None:
        """Write a configuration as YAML; where it holds what YAML cannot hold, also beside it as a pickle."""
        logger = logging.getLogger(__name__)
        text = None
        try:
            plain = OmegaConf.to_container(_with_names(cfg), resolve=False)
            text = yaml.safe_dump(plain, default_flow_style=None, allow_unicode=True, width=9999)
        except Exception:
            logger.exception("Unable to serialize the config to yaml. Error:")
        if text is not None:
            Path(filename).write_text(text, "utf-8")
            return
        Path(filename).write_text("# holds objects that YAML cannot hold: see the .pkl beside it\n", "utf-8")
        try:
            Path(f"{filename}.pkl").write_bytes(_pickled(cfg))
            logger.warning("Config is saved using cloudpickle at %s.pkl.", filename)
        except Exception:
            logger.exception("The config cannot be pickled either:")

    @staticmethod
    def apply_overrides(cfg: DictConfig, overrides: list[str]) -> DictConfig:
        """Set values, in place: "model.backbone.depth=101", with values as Python or plain text."""
        for text in overrides:
            path, _, value = text.partition("=")
            _require_tree(cfg, path)
            try:
                parsed: Any = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                parsed = {"true": True, "false": False, "null": None}.get(value.lower(), value)
            OmegaConf.update(cfg, path, parsed, merge=True)
        return cfg

    @staticmethod
    def to_py(cfg: Any, prefix: str = "cfg.") -> str:
        """A configuration as Python, for people to read."""
        lines = "\n".join(_lines(OmegaConf.to_container(cfg, resolve=True), prefix))
        try:
            import black
        except ImportError:
            return lines + "\n"
        formatted: str = black.format_str(lines, mode=black.Mode())
        return formatted


def _tree(value: Any) -> Any:
    return DictConfig(value, flags={"allow_objects": True}) if isinstance(value, dict) else value


def _pickled(cfg: Any) -> bytes:
    try:
        import cloudpickle
    except ImportError:
        return pickle.dumps(cfg)
    pickled: bytes = cloudpickle.dumps(cfg)
    return pickled


def _with_names(cfg: Any) -> Any:
    """A copy whose targets are names."""
    copied = OmegaConf.create(OmegaConf.to_container(cfg, resolve=False), flags={"allow_objects": True})

    def visit(node: Any) -> None:
        if isinstance(node, DictConfig):
            if "_target_" in node and not isinstance(node._get_node("_target_"), DictConfig):
                node["_target_"] = _convert_target_to_string(node["_target_"])
            for name in node:
                visit(node._get_node(name))
        elif isinstance(node, ListConfig):
            for place in range(len(node)):
                visit(node._get_node(place))

    visit(copied)
    return copied


def _require_tree(cfg: Any, path: str) -> None:
    """KeyError if something on the way to a value is a value itself."""
    names = path.split(".")
    for count in range(1, len(names)):
        above = ".".join(names[:count])
        value = OmegaConf.select(cfg, above, default=None)
        if value is None:
            return
        if not OmegaConf.is_config(value):
            raise KeyError(f"Trying to update key {path}, but {above} is not a config, but has type {type(value)}.")


def _lines(tree: Any, prefix: str) -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, dict) and "_target_" not in value:
            yield from _lines(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name} = {_source(value)}"


def _source(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_source, value)) + "]"
    if isinstance(value, dict) and "_target_" in value:
        arguments = ", ".join(f"{name}={_source(each)}" for name, each in value.items() if name != "_target_")
        target = value["_target_"]
        return f"{target if isinstance(target, str) else _convert_target_to_string(target)}({arguments})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {_source(each)}" for name, each in value.items()) + "}"
    return repr(value)


def _package(filename: str) -> str:
    """A name for the file's folder, unlike any other, so that its relative imports come here."""
    return f"{_PACKAGE}{uuid.uuid4().hex[:4]}.{Path(filename).name}"


def _check_syntax(filename: str) -> None:
    try:
        ast.parse(Path(filename).read_text("utf-8"))
    except SyntaxError as error:
        raise SyntaxError(f"Config file {filename} has syntax error!") from error


@contextlib.contextmanager
def _relative_imports() -> Iterator[None]:
    """Within, `from .other import cfg` of a configuration reads other.py beside it again, as a configuration."""
    plain = builtins.__import__

    def find(relative: str, level: int, importer: str) -> str:
        folder = Path(importer).parent
        for _ in range(level - 1):
            folder = folder.parent
        file = folder.joinpath(*relative.split("."))
        path = Path(f"{file}.py") if not file.suffix else file
        if path.is_file():
            return str(path)
        if file.is_dir():
            raise ImportError(f"Cannot import from {file}/: relative import of a folder is not supported; name a file")
        raise ImportError(f"Cannot import name {relative} from {importer}: {path} does not exist.")

    def imported(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        package = (globals or {}).get("__package__", "") or ""
        if not (level and package.startswith(_PACKAGE)):
            return plain(name, globals, locals, fromlist, level)
        if not name:
            raise ImportError("relative import of a folder is not supported in a config: `from .file import name`")
        path = find(name, level, globals["__file__"])
        _check_syntax(path)
        spec = importlib.machinery.ModuleSpec(_package(path), None, origin=path)
        module = importlib.util.module_from_spec(spec)
        module.__file__, module.__package__ = path, spec.name
        exec(compile(Path(path).read_text("utf-8"), path, "exec"), module.__dict__)
        for each in fromlist or ():
            if isinstance(module.__dict__.get(each), dict):
                module.__dict__[each] = _tree(module.__dict__[each])
        return module

    builtins.__import__ = imported
    try:
        yield
    finally:
        builtins.__import__ = plain
