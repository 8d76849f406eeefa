"""The configuration of an ONNX file in a model repository of NVIDIA Triton: `NAME/config.pbtxt`.

A repository has a folder per model, and in it a folder per version: `NAME/1/model.onnx`. The fields are those of
`model_config.proto` of triton-inference-server/common.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from det_core.errors import ConfigError

__all__ = ["require_place", "write_config"]

_TYPES = {
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(int64)": "TYPE_INT64",
    "tensor(int32)": "TYPE_INT32",
    "tensor(bool)": "TYPE_BOOL",
}


def require_place(form: str, path: Path) -> None:
    """ConfigError unless `path` is the place of a model in a repository, and its format one that Triton runs here."""
    if form != "onnx":
        raise ConfigError("--layout", "triton is for ONNX files", f"got {form}", "give --format onnx")
    parts = path.absolute().parts
    if path.name != "model.onnx" or len(parts) < 4 or not parts[-2].isdigit() or int(parts[-2]) < 1:
        fix = "give a path such as models/cells/1/model.onnx"
        raise ConfigError("--output", "must be NAME/VERSION/model.onnx in a repository", str(path), fix)
    path.parent.mkdir(parents=True, exist_ok=True)


def write_config(path: Path) -> Path:
    """Write `config.pbtxt` for the file `NAME/VERSION/model.onnx`; returns where. Other versions share it.

    The inputs of a file include its batch, so `max_batch_size` is 0, as Triton requires for that.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    folder = path.absolute().parents[1]
    metadata: dict[str, Any] = json.loads(session.get_modelmeta().custom_metadata_map["det"])
    parameters = {
        "classes": json.dumps(list(metadata["classes"])),
        "category_ids": json.dumps(list(metadata["category_ids"])),
    }
    lines = [
        f"name: {json.dumps(folder.name)}",
        'backend: "onnxruntime"',
        "max_batch_size: 0",
        *_tensors("input", session.get_inputs()),
        *_tensors("output", session.get_outputs()),
        *(
            f"parameters {{ key: {json.dumps(key)} value {{ string_value: {json.dumps(value)} }} }}"
            for key, value in parameters.items()
        ),
    ]
    written = folder / "config.pbtxt"
    written.write_text("\n".join(lines) + "\n", "utf-8")
    return written


def _tensors(kind: str, tensors: Iterable[Any]) -> Iterable[str]:
    for each in tensors:
        sides = ", ".join(str(side) if isinstance(side, int) else "-1" for side in each.shape)
        yield f"{kind} {{ name: {json.dumps(each.name)} data_type: {_TYPES[each.type]} dims: [ {sides} ] }}"
