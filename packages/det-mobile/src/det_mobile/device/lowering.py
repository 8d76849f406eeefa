"""Lowering of methods to an ExecuTorch `.pte` file, and running the methods of a file."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from det_core.errors import CheckpointError, ConfigError, MissingExtraError
from torch import Tensor, nn

__all__ = ["lowered", "require_executorch", "runner"]

_FIX = "export to onnx, or take a model without this operator"
# What ExecuTorch makes of these has kernels of its own, or they compute no numbers on the device.
_OTHERS = frozenset({"quantized_decomposed", "prim", "prims", "sym_size", "higher_order"})


def require_executorch() -> None:
    """MissingExtraError where a library is missing."""
    try:
        import torchao.quantization.pt2e  # noqa: F401

        with _silent():
            import executorch.runtime  # noqa: F401
    except ImportError as error:
        fix = "pip install det-mobile[executorch] --find-links WHEELS"
        raise MissingExtraError("executorch", f"needs {error.name}, which is not installed", fix=fix) from error


def lowered(methods: Mapping[str, tuple[nn.Module, tuple[Tensor, ...]]]) -> bytes:
    """The file of all methods, each a program for XNNPACK and, where that has no operator, portable kernels.

    Raises:
        ConfigError: torch.export, or ExecuTorch, does not take an operator; it is named before anything is lowered.
    """
    programs = {}
    for name, (module, example) in methods.items():
        try:
            with torch.no_grad(), _silent():
                programs[name] = torch.export.export(module, example, strict=True)
        except Exception as error:  # its errors have no common type
            found = f"{name}: {type(error).__name__}: {_first_line(error)}"
            raise ConfigError("executorch", "the model is no graph for torch.export", found, _FIX) from error
    require_kernels(programs)
    with _silent():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        try:
            parts: Any = {name: [XnnpackPartitioner()] for name in programs}
            edge = to_edge_transform_and_lower(programs, partitioner=parts)
            return bytes(edge.to_executorch().buffer)
        except Exception as error:  # likewise
            raise ConfigError("executorch", "cannot lower the model", _first_line(error), _FIX) from error


def require_kernels(programs: Mapping[str, torch.export.ExportedProgram]) -> None:
    """Raise ConfigError with the operators for which the runtime has no kernel, all of them by name."""
    with _silent():
        from executorch.runtime import Runtime

        names = {str(name).rpartition(".")[0] for name in Runtime.get().operator_registry.operator_names}
    absent: dict[str, str] = {}
    for method, program in programs.items():
        core = program.run_decompositions()
        for node in core.graph.nodes:
            target = node.target
            if node.op != "call_function" or not isinstance(target, torch._ops.OpOverload):
                continue
            name = target._schema.name
            if not target._schema.returns:  # assertions, which are dropped
                continue
            if target.namespace not in _OTHERS and name not in names and not _delegated(name):
                absent.setdefault(name, method)
    if absent:
        names_absent = ", ".join(f"{name} in {method}" for name, method in absent.items())
        raise ConfigError("executorch", "the runtime has no kernel for these operators", names_absent, _FIX)


def _delegated(name: str) -> bool:
    """Whether XNNPACK takes an operator that the portable kernels may lack, or a pass of ExecuTorch replaces it."""
    short = name.rpartition("::")[2]
    return name.startswith("aten::") and short in _DELEGATED


_DELEGATED = frozenset(
    [
        *("convolution", "linear", "conv2d", "addmm", "mm", "bmm", "upsample_bilinear2d", "hardtanh", "relu", "clamp"),
        *(
            "sym_size",
            "alias",
            "lift_fresh_copy",
            "view",
            "unsqueeze",
            "squeeze",
            "expand",
            "permute",
            "select",
            "slice",
        ),
        *("_to_copy", "_adaptive_avg_pool2d", "mean", "avg_pool2d", "max_pool2d_with_indices", "arange", "full"),
        *("_native_batch_norm_legit_no_training", "hardswish", "hardsigmoid", "constant_pad_nd"),
    ]
)


def runner(path: Path) -> Any:
    """A function that runs a method of the file by its name: arrays in, arrays out, as `det_mobile.device.host.Run`.

    Raises:
        CheckpointError: the runtime does not take the file.
    """
    with _silent():
        from executorch.runtime import Runtime, Verification

        try:
            program: Any = Runtime.get().load_program(path, verification=Verification.InternalConsistency)
            methods = {name: program.load_method(name) for name in sorted(program.method_names)}
        except Exception as error:  # of C++
            found = f"{type(error).__name__}: {_first_line(error)}"
            raise CheckpointError(str(path), "is no program that ExecuTorch runs", found, "export it again") from error

    def run(method: str, inputs: Sequence[Any], _program: Any = program) -> list[Any]:  # which methods need alive
        outputs = methods[method].execute([torch.from_numpy(np.ascontiguousarray(each)) for each in inputs])
        return [each.numpy().copy() for each in outputs]

    return run


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Suppress the log output of the libraries, also that from C++."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    saved = os.dup(2)
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            logger.setLevel(level)
