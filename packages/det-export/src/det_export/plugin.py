"""What det-export adds to det, as names; nothing here is imported before it is used."""

from det_core.plugins.hooks import hookimpl


@hookimpl
def det_commands() -> dict[str, str]:
    """Writing a model to a file for another runtime, and answering requests."""
    return {"export": "det_export.cli:command", "serve": "det_export.serve.command:command"}


@hookimpl
def det_exporters() -> dict[str, str]:
    """One exporter per format."""
    return {
        "aoti": "det_export.formats.aoti:AotiExporter",
        "onnx": "det_export.formats.onnx:OnnxExporter",
        "openvino": "det_export.formats.openvino:OpenVinoExporter",
        "torch_export": "det_export.formats.torch_export:TorchExporter",
        "torchscript": "det_export.formats.torchscript:ScriptExporter",
    }
