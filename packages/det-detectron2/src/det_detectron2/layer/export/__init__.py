"""Exporting, as `detectron2.export`: errors that name det's own exporters.

TorchScript and Caffe2, which Detectron2 exports by, are gone or deprecated in torch; det exports by `torch.export`.
"""

from det_detectron2.layer.export.missing import missing

__all__ = [
    "STABLE_ONNX_OPSET_VERSION",
    "Caffe2Model",
    "Caffe2Tracer",
    "TracingAdapter",
    "dump_torchscript_IR",
    "export_caffe2_model",
    "export_onnx_model",
    "scripting_with_instances",
]

STABLE_ONNX_OPSET_VERSION = 16

Caffe2Model = missing("detectron2.export.Caffe2Model")
Caffe2Tracer = missing("detectron2.export.Caffe2Tracer")
TracingAdapter = missing("detectron2.export.TracingAdapter")
dump_torchscript_IR = missing("detectron2.export.dump_torchscript_IR")  # noqa: N816 (its published name)
export_caffe2_model = missing("detectron2.export.export_caffe2_model")
export_onnx_model = missing("detectron2.export.export_onnx_model")
scripting_with_instances = missing("detectron2.export.scripting_with_instances")
