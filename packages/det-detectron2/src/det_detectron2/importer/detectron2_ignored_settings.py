"""Settings of Detectron2 without effect on a configuration, because their part is disabled.

All files share a base with far more settings than each of them uses; these settings are marked as read.
"""

from det_detectron2.importer.settings import Settings

__all__ = ["mark_ignored_settings"]

# Output paths, logging, kernel selection, expected results: not part of a recipe.
_NEVER = (
    *("VERSION", "OUTPUT_DIR", "VIS_PERIOD", "CUDNN_BENCHMARK", "GLOBAL.", "MODEL.DEVICE", "TEST.EXPECTED_RESULTS"),
)
_SECOND_STAGE = (
    *("MODEL.ROI_HEADS.", "MODEL.ROI_BOX_HEAD.", "MODEL.ROI_BOX_CASCADE_HEAD.", "MODEL.ROI_MASK_HEAD."),
    *("MODEL.ROI_KEYPOINT_HEAD.", "MODEL.MASK_ON", "MODEL.KEYPOINT_ON"),
)
_PROPOSALS = ("MODEL.RPN.", "MODEL.PROPOSAL_GENERATOR.")
_GIVEN_PROPOSALS = (
    *("DATASETS.PROPOSAL_FILES_TRAIN", "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TRAIN"),
    *("DATASETS.PROPOSAL_FILES_TEST", "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TEST"),
)


def mark_ignored_settings(s: Settings) -> None:
    """Mark settings without effect on the configuration as read."""
    kind = s.peek("MODEL.META_ARCHITECTURE")
    boxes = kind in ("GeneralizedRCNN", "PanopticFPN")
    precomputed = s.peek("MODEL.PROPOSAL_GENERATOR.NAME") == "PrecomputedProposals"
    anchors = kind == "RetinaNet" or ((boxes or kind == "ProposalNetwork") and not precomputed)
    is_used_by_prefix = {
        **dict.fromkeys(_NEVER, False),
        **dict.fromkeys(_SECOND_STAGE, boxes),
        **dict.fromkeys(_PROPOSALS, (boxes or kind == "ProposalNetwork") and not precomputed),
        **dict.fromkeys(_GIVEN_PROPOSALS, precomputed),
        "MODEL.LOAD_PROPOSALS": precomputed,
        "MODEL.ANCHOR_GENERATOR.": anchors,
        "MODEL.ANCHOR_GENERATOR.ANGLES": anchors and "Rotated" in s.peek("MODEL.ANCHOR_GENERATOR.NAME"),
        "MODEL.RETINANET.": kind == "RetinaNet",
        "MODEL.SEM_SEG_HEAD.": kind in ("SemanticSegmentor", "PanopticFPN"),
        "MODEL.PANOPTIC_FPN.": kind == "PanopticFPN",
        "MODEL.FPN.": "fpn" in s.peek("MODEL.BACKBONE.NAME"),
        "INPUT.CROP.": s.peek("INPUT.CROP.ENABLED"),
        "DATALOADER.REPEAT_": s.peek("DATALOADER.SAMPLER_TRAIN") == "RepeatFactorTrainingSampler",
        "SOLVER.CLIP_GRADIENTS.": s.peek("SOLVER.CLIP_GRADIENTS.ENABLED"),
        "TEST.AUG.": s.peek("TEST.AUG.ENABLED"),
        "TEST.PRECISE_BN.": s.peek("TEST.PRECISE_BN.ENABLED"),
    } | _of_second_stage(s, boxes)
    idle = tuple(prefix for prefix, is_used in is_used_by_prefix.items() if not is_used)
    s.read(*(key for key in s.given if key.startswith(idle) and key in s.defaults))


def _of_second_stage(s: Settings, boxes: bool) -> dict[str, bool]:
    """Settings of the RoI heads, and whether each has an effect, if there are RoI heads."""
    masks, keypoints = boxes and s.peek("MODEL.MASK_ON"), boxes and s.peek("MODEL.KEYPOINT_ON")
    name = s.peek("MODEL.ROI_HEADS.NAME")
    c4 = name == "Res5ROIHeads"
    # Res5ROIHeads has a ResNet stage in place of a box head, and masks use its output.
    box_layers = ("NAME", "NUM_FC", "FC_DIM", "NUM_CONV", "CONV_DIM", "NORM", "TRAIN_ON_PRED_BOXES")
    return {
        **{f"MODEL.ROI_BOX_HEAD.{layer}": boxes and not c4 for layer in box_layers},
        "MODEL.ROI_BOX_HEAD.FED_LOSS_": boxes and s.peek("MODEL.ROI_BOX_HEAD.USE_FED_LOSS"),
        "MODEL.ROI_BOX_CASCADE_HEAD.": boxes and name == "CascadeROIHeads",
        "MODEL.ROI_MASK_HEAD.": masks,
        "MODEL.ROI_MASK_HEAD.POOLER_": masks and not c4,
        "MODEL.ROI_KEYPOINT_HEAD.": keypoints,
    }
