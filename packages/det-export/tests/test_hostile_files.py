"""Files that would run code, or take more memory than a model does, are refused before a runtime opens them."""

import json
import shutil
import time
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from det_core.errors import CheckpointError
from det_export.formats.bounds import limit_memory, require_bounded
from det_export.formats.plain import require_plain
from onnx import TensorProto, helper, numpy_helper


def graph_of(nodes, **constants):
    """A model of `sizes` int64 (1, 2) with these nodes, the last of which makes `y`."""
    inputs = [helper.make_tensor_value_info("sizes", TensorProto.INT64, [1, 2])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    tensors = [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


BOMBS = {
    "constant of shape": graph_of([helper.make_node("ConstantOfShape", ["s"], ["y"])], s=[10**6, 10**6]),
    "expand": graph_of([helper.make_node("Expand", ["one", "s"], ["y"])], one=[1.0], s=[10**9, 10]),
    "tile": graph_of([helper.make_node("Tile", ["one", "s"], ["y"])], one=[1.0], s=[10**12]),
    "range": graph_of([helper.make_node("Range", ["a", "b", "c"], ["y"])], a=0, b=10**12, c=1),
    "computed shape": graph_of(
        [
            helper.make_node("Mul", ["s", "s"], ["t"]),
            helper.make_node("Concat", ["t", "s"], ["u"], axis=0),
            helper.make_node("ConstantOfShape", ["u"], ["y"]),
        ],
        s=[10**5],
    ),
    "in a constant node": graph_of(
        [
            helper.make_node("Constant", [], ["s"], value_ints=[10**6, 10**6]),
            helper.make_node("ConstantOfShape", ["s"], ["y"]),
        ]
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_onnx_of_an_operator_that_makes_billions_refused(name):
    start = time.monotonic()
    with pytest.raises(CheckpointError, match="larger than any model's"):
        require_bounded(BOMBS[name], "m.onnx")
    assert time.monotonic() - start < 5


def test_onnx_bomb_within_a_branch_refused():
    branch = BOMBS["constant of shape"].graph
    del branch.input[:]
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    with pytest.raises(CheckpointError, match="larger than any model's"):
        require_bounded(graph_of([node], c=np.array(True)), "m.onnx")


def test_onnx_with_local_functions_refused():
    model = graph_of([helper.make_node("Identity", ["sizes"], ["y"])])
    model.functions.add(name="f", domain="")
    with pytest.raises(CheckpointError, match="functions of its own"):
        require_bounded(model, "m.onnx")


def test_onnx_run_allocating_terabytes_fails_with_bounded_memory():
    nodes = [
        helper.make_node("Mul", ["sizes", "many"], ["a"]),
        helper.make_node("Reshape", ["a", "flat"], ["b"]),
        helper.make_node("ConstantOfShape", ["b"], ["y"]),
    ]
    model = graph_of(nodes, many=[1000, 1000], flat=[-1])
    require_bounded(model, "m.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    limit_memory(options)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    with pytest.raises(Exception, match="ConstantOfShape"):
        session.run(None, {"sizes": np.array([[3000, 4000]])})


class Rows(torch.nn.Module):
    def forward(self, pixels, sizes):
        return pixels.float().flatten(2) * pixels.shape[3], sizes + 1


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A .pt2 file with a dynamic side."""
    path = tmp_path_factory.mktemp("pt2") / "m.pt2"
    width = torch.export.Dim("width", min=4, max=64)
    given = (torch.zeros(1, 3, 8, 12, dtype=torch.uint8), torch.tensor([[8, 12]]))
    torch.export.save(torch.export.export(Rows(), given, dynamic_shapes=({3: width}, None)), path)
    return path


def rewritten(path, target, change):
    """A copy of a .pt2 whose entries `change` (a function of name and bytes) rewrites."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as made:
        for entry in source.infolist():
            made.writestr(entry.filename, change(entry.filename, source.read(entry)))
    return target


def in_program(edit):
    def change(name, data):
        if not name.endswith("models/model.json"):
            return data
        tree = json.loads(data)
        edit(tree)
        return json.dumps(tree).encode()

    return change


def refused(path, match):
    with zipfile.ZipFile(path) as archive, pytest.raises(CheckpointError, match=match):
        require_plain(archive, str(path))


def test_pt2_as_written_is_plain(program):
    with zipfile.ZipFile(program) as archive:
        require_plain(archive, str(program))


@pytest.mark.parametrize(
    "code",
    [
        "__import__('os').system('true')",
        "L['flat_args'][0].__class__",
        "exec('1')",
        "(lambda: 1)()",
        "[1 for _ in range(9)]",
        "open('x')",
        "9**9**9**9",
        "Pow(Integer(9), Integer(99999999))",
        "Pow(Pow(9, Integer(9)), Symbol('s0'))",
        "'a' * 1000000000",
        "1 << 1000000000000",
    ],
)
def test_pt2_with_code_among_its_guards_refused(program, tmp_path, code):
    path = rewritten(program, tmp_path / "m.pt2", in_program(lambda tree: tree.update(guards_code=[code])))
    refused(path, "more than arithmetic")


def test_pt2_with_code_as_a_size_refused(program, tmp_path):
    def edit(tree):
        value = next(iter(tree["graph_module"]["graph"]["tensor_values"].values()))
        value["sizes"] = [{"as_expr": {"expr_str": "__import__('os').system('true')", "hint": None}}]

    refused(rewritten(program, tmp_path / "m.pt2", in_program(edit)), "more than arithmetic")


@pytest.mark.parametrize("target", ["torch.hub.load", "torch.load", "torch.ops.aten.from_file.default", "#x:y", "eval"])
def test_pt2_that_calls_other_functions_refused(program, tmp_path, target):
    def edit(tree):
        tree["graph_module"]["graph"]["nodes"][0]["target"] = target

    refused(rewritten(program, tmp_path / "m.pt2", in_program(edit)), "not a tensor operator")


def test_pt2_of_a_billion_elements_refused(program, tmp_path):
    def edit(tree):
        node = tree["graph_module"]["graph"]["nodes"][0]
        node["inputs"][0]["arg"] = {"as_ints": [10**9, 10**3]}

    refused(rewritten(program, tmp_path / "m.pt2", in_program(edit)), "larger than any model's")


def test_pt2_with_pickles_refused(program, tmp_path):
    marked = rewritten(
        program, tmp_path / "a.pt2", lambda _, data: data.replace(b'"use_pickle": false', b'"use_pickle": true')
    )
    if b'"use_pickle"' in b"".join(zipfile.ZipFile(program).read(n) for n in zipfile.ZipFile(program).namelist()):
        refused(marked, "pickled tensors")
    hostile = b"cos\nsystem\n(S'true'\ntR."
    swapped = rewritten(program, tmp_path / "b.pt2", lambda name, data: hostile if name.endswith(".pt") else data)
    refused(swapped, "pickles that may run code")


def test_pt2_with_two_entries_of_one_name_refused(program, tmp_path):
    path = tmp_path / "m.pt2"
    shutil.copy(program, path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.namelist()[0], b"")
    refused(path, "several entries")


def test_onnx_with_weights_in_other_folder_refused(tmp_path):
    model = graph_of([helper.make_node("Identity", ["w"], ["y"])], w=[1.0])
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../outside.bin")
    onnx.helper.set_model_props(model, {"det": "{}"})
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    from det_export.formats.onnx import OnnxExporter

    with pytest.raises(CheckpointError, match="in other files"):
        OnnxExporter().load(tmp_path / "m.onnx")
