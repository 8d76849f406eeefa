"""`torchscript`: a `.ts` file for servers that still want one. TorchScript is deprecated in torch."""

import operator
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from det_core.errors import CheckpointError, ConfigError
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from det_export.archive import append_metadata, examined, require_trust
from det_export.formats.base import FileExporter, Run
from det_export.metadata import Metadata

__all__ = ["ScriptExporter", "script_of"]

_FIX = "export the model again, to torch_export or onnx"
_CODE = 64 * 2**20  # bytes that the code in a file may unpack to
_INFIX = {
    operator.ge: ">=",
    operator.le: "<=",
    operator.lt: "<",
    operator.gt: ">",
    operator.eq: "==",
    operator.ne: "!=",
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.floordiv: "//",
    operator.mod: "%",
    operator.truediv: "/",
}
_EXTREMES = {torch.sym_min: "min", torch.sym_max: "max"}
_CHECKS = ("_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range", "sym_constrain_range_for_size")


class ScriptExporter(FileExporter):
    """Writes the traced program as TorchScript; `torch.jit.load(path)` runs it, with torchvision imported.

    The graph is that of torch.export, translated call by call, so sizes stay free, which `torch.jit.trace` would fix.
    A file holds a program: it loads only with `trust`.
    """

    suffixes: ClassVar[Sequence[str]] = (".ts",)
    format: ClassVar[str] = "torchscript"
    precisions: ClassVar[Sequence[str]] = ("fp32", "bf16")

    def write(self, program: ExportedProgram, metadata: Metadata, path: Path) -> None:
        """As `FileExporter.write`."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of its deprecation, which docs/export.md explains
                module = script_of(program)
                module.save(str(path))
        except (RuntimeError, NotImplementedError) as error:
            detail = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ConfigError("export", "TorchScript has no such operator", detail[:300], "use torch_export") from error
        append_metadata(path, metadata)

    def read(self, path: Path) -> tuple[Metadata, Run]:
        """As `FileExporter.read`."""
        import torchvision  # noqa: F401 (its operators)

        metadata = examined(path, ".ts file", _CODE)
        require_trust(path, self.trust, "a TorchScript file is a program, which can run any code")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = torch.jit.load(str(path), map_location="cpu")
        except (RuntimeError, ValueError, OSError, zipfile.BadZipFile) as error:
            detail = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise CheckpointError(str(path), "is no TorchScript that this torch reads", detail, _FIX) from error

        def run(*inputs: Tensor) -> Sequence[Tensor]:
            outputs: Sequence[Tensor] = module(*inputs)
            return outputs

        return metadata, run


def script_of(program: ExportedProgram) -> Any:
    """The program as a `torch.jit.ScriptModule` that takes the same tensors.

    Raises:
        NotImplementedError: the graph contains a node that TorchScript cannot express (a loop, a branch).
        RuntimeError: TorchScript has no such operator.
    """
    writer = _Writer(program)
    source = writer.source()
    script: Any = torch.jit.script(writer.root.eval())
    script.define(source)
    return script


class _Writer:
    """The source of a program's `forward`; its tensors become buffers of `root`."""

    def __init__(self, program: ExportedProgram) -> None:
        # A class of its own: TorchScript defines `forward` once for all modules of a class with such buffers.
        self.root, self.names = type("Program", (nn.Module,), {})(), dict[fx.Node, str]()
        self.program, self.arguments = program, list[str]()

    def source(self) -> str:
        lines: list[str] = []
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self.names[node] = self._placeholder(node)
            elif node.op == "output":
                lines.append(f"return ({''.join(self.value(each) + ', ' for each in node.args[0])})")
            elif node.op != "call_function":
                raise NotImplementedError(f"{node.op} {node.target}")
            elif getattr(node.target, "__name__", "").split(".")[0] not in _CHECKS:
                expression = self._call(node)
                self.names[node] = f"v{len(self.names)}"
                lines.append(f"{self.names[node]} = {expression}")
        head = ", ".join(f"{name}: Tensor" for name in self.arguments)
        return f"def forward(self, {head}):\n    " + "\n    ".join(lines) + "\n"

    def _placeholder(self, node: fx.Node) -> str:
        signature = self.program.graph_signature
        stored: Mapping[str, str] = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        if node.name not in stored:
            self.arguments.append(node.name)
            return node.name
        key, name = stored[node.name], f"t{len(self.names)}"
        value = self.program.state_dict[key] if key in self.program.state_dict else self.program.constants[key]
        self.root.register_buffer(name, value.detach())
        return f"self.{name}"

    def _call(self, node: fx.Node) -> str:
        target, arguments = node.target, node.args
        if target in _INFIX:
            return f"{self.value(arguments[0])} {_INFIX[target]} {self.value(arguments[1])}"
        if target is operator.getitem:
            return f"{self.value(arguments[0])}[{arguments[1]}]"
        if target in _EXTREMES:
            return f"{_EXTREMES[target]}({self.value(arguments[0])}, {self.value(arguments[1])})"
        if target is torch.ops.aten.sym_size.int:
            return f"{self.value(arguments[0])}.size({arguments[1]})"
        if target is torch.ops.aten.item.default:
            kind = "int" if isinstance(node.meta["val"], int | torch.SymInt) else "float"
            return f"{kind}({self.value(arguments[0])}.item())"
        if not isinstance(target, torch._ops.OpOverload):
            raise NotImplementedError(f"TorchScript has no words for {getattr(target, '__name__', target)}")
        schema: Any = target._schema
        kinds = {argument.name: str(argument.type) for argument in schema.arguments}
        values = [self.value(value, kind) for value, kind in zip(arguments, kinds.values(), strict=False)]
        values += [f"{name}={self.value(value, kinds[name])}" for name, value in node.kwargs.items()]
        return f"torch.ops.{schema.name.replace('::', '.')}({', '.join(values)})"

    def value(self, value: Any, kind: str = "") -> str:
        """The source text of a value; `kind` is the type that the operator's schema gives it."""
        if isinstance(value, fx.Node):
            return self.names[value]
        if isinstance(value, list | tuple):
            text = f"[{', '.join(self.value(each) for each in value)}]"
            if "Optional[Tensor]" in kind:
                return f"torch.jit.annotate(List[Optional[Tensor]], {text})"
            return text if value else "torch.jit.annotate(List[int], [])"
        if isinstance(value, torch.device):
            return f'torch.device("{value}")'
        if isinstance(value, float) and value - value != 0:
            return f'float("{value}")'
        return str(value) if isinstance(value, torch.dtype | torch.layout | torch.memory_format) else repr(value)
