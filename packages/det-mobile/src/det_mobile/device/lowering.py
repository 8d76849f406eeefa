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
from torch import Tensor, fx, nn

__all__ = ["graph_of", "lowered", "require_executorch", "runner"]

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
                programs[name] = torch.export.export(graph_of(module, example), example, strict=True)
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


def graph_of(module: nn.Module, example: tuple[Tensor, ...]) -> fx.GraphModule:
    """The graph of a module, each of whose layers has weights of its own."""
    graph: fx.GraphModule = torch.export.export(module, example, strict=True).module()
    _split_shared_weights(graph)
    _name_weights_of_norms(graph)
    graph.recompile()
    return graph


def _split_shared_weights(graph: fx.GraphModule) -> None:
    """Give each layer that shares its weights with others, as heads of several levels do, a node of its own for them.

    The quantizer of XNNPACK annotates one layer of a node, and no other. Weights of batch norms and of layers before
    them are copied, too: both libraries multiply the norm of each level into the weights, into shared ones repeatedly.
    """
    for node in [each for each in graph.graph.nodes if each.op == "get_attr"]:
        for number, user in enumerate(list(node.users)[1:], 1):
            name = str(node.target)
            if any("batch_norm" in str(each.target) for each in (user, *user.users)):
                weight = graph.get_parameter(name)
                name = f"{name.replace('.', '_')}_{number}"
                graph.register_parameter(name, nn.Parameter(weight.detach().clone(), requires_grad=False))
            with graph.graph.inserting_before(user):
                copied = graph.graph.get_attr(name)
                copied.meta = dict(node.meta)
                user.replace_input_with(node, copied)


def _name_weights_of_norms(graph: fx.GraphModule) -> None:
    """Give batch norms without weights, such as those of single levels, ones and zeros of their own.

    ExecuTorch makes such constants for the first of them alone, and computes wrong numbers with the others.
    """
    for number, node in enumerate(n for n in graph.graph.nodes if "batch_norm" in str(n.target)):
        mean = graph.get_buffer(str(node.args[3].target))
        for place, value in ((1, torch.ones_like(mean)), (2, torch.zeros_like(mean))):
            if node.args[place] is None:
                name = f"norm_{number}_{place}"
                graph.register_parameter(name, nn.Parameter(value, requires_grad=False))
                with graph.graph.inserting_before(node):
                    node.update_arg(place, graph.graph.get_attr(name))


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
