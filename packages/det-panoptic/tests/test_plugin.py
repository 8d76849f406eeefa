"""The plugin is found, without problems, with all that it offers."""

from det_core import plugins


def test_plugin_lists_components_and_recipes_without_problems():
    (plugin,) = [each for each in plugins.catalog().plugins if each.distribution == "det-panoptic"]
    assert plugin.status == "active"
    assert not plugin.problem
    offered = dict(plugin.components)
    assert len(offered.pop("recipes")) == 20
    assert {kind: set(names) for kind, names in offered.items()} == {
        "backbones": {"deeplab_resnet"},
        "heads": {"deeplab_v3_head", "deeplab_v3_plus_head", "sem_seg_fpn_head"},
        "models": {"panoptic_deeplab", "panoptic_fpn", "semantic_segmentor"},
        "datasets": {"ade20k", "cityscapes_panoptic", "cityscapes_semantic", "coco_panoptic"},
        "evaluators": {"boundary_quality", "panoptic_quality", "stuff_iou"},
        "importers": {"detectron2.panoptic"},
        "conformance": {"panoptic"},
    }
