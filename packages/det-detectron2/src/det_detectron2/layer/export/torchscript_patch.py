"""Not there, as `detectron2.export.torchscript_patch`: errors that name det's own exporters."""

from det_detectron2.layer.export.missing import missing

__all__ = ["freeze_training_mode", "patch_builtin_len", "patch_instances", "patch_nonscriptable_classes"]

patch_builtin_len = missing("detectron2.export.torchscript_patch.patch_builtin_len")
patch_instances = missing("detectron2.export.torchscript_patch.patch_instances")
freeze_training_mode = missing("detectron2.export.torchscript_patch.freeze_training_mode")
patch_nonscriptable_classes = missing("detectron2.export.torchscript_patch.patch_nonscriptable_classes")
