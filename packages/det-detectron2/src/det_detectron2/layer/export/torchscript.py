"""Not there, as `detectron2.export.torchscript`: errors that name det's own exporters."""

from det_detectron2.layer.export.missing import missing

__all__ = ["dump_torchscript_IR", "freeze_training_mode", "patch_instances", "scripting_with_instances"]

scripting_with_instances = missing("detectron2.export.torchscript.scripting_with_instances")
dump_torchscript_IR = missing("detectron2.export.torchscript.dump_torchscript_IR")  # noqa: N816 (its published name)
patch_instances = missing("detectron2.export.torchscript.patch_instances")
freeze_training_mode = missing("detectron2.export.torchscript.freeze_training_mode")
