"""The commented recipe: plain text whose comments give the reason for each value."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from det_inspect.start.measure import Figures, anchors_for
from det_inspect.start.weights import Weights

__all__ = ["Choices", "choose", "recipe_text"]

_SMALLEST = 12  # pixels that small objects should keep
_FINE = 20  # pixels: below, small objects need a map of stride 4
_SHORT = (320, 640)  # pixels, the range of the shorter side
_SHARES = (0.7, 1.5)  # of the shorter side as it is in the files: how far pictures are made smaller or larger
_STEP = 32
_BATCH = 4


@dataclass(frozen=True)
class Choices:
    """The values of a recipe.

    Attributes:
        task: one of detect, segment, pose, rotated.
        short: the shorter side of pictures as the network gets them, in pixels.
        longest: the limit of the longer side.
        strides: strides of the feature maps, in pixels.
        anchors: the arguments of the anchor generator.
        steps: number of steps of the training.
        flips: directions in which pictures are mirrored.
        flip_reason: comment in the recipe on the flips.
    """

    task: str
    short: int
    longest: int
    strides: tuple[int, ...]
    anchors: dict[str, Any]
    steps: int
    flips: tuple[str, ...]
    flip_reason: str


def choose(figures: Figures, task: str, flips: tuple[str, ...], flip_reason: str, pretrained: bool) -> Choices:
    """Sizes from those of the objects, steps from the number of pictures."""
    small = float(np.percentile(figures.relative, 10))
    lowest, highest = (min(_SHORT[0], _SHARES[0] * figures.short), min(_SHORT[1], _SHARES[1] * figures.short))
    ideal = min(max(_SMALLEST / small, lowest), highest)
    short = max(_STEP, round(ideal / _STEP) * _STEP)
    sides = figures.relative * short
    fine = bool(small * short < _FINE) or task in ("segment", "pose")
    strides = (4, 8, 16, 32) if fine else (8, 16, 32)
    steps = int(np.clip(round(6 * figures.images / _BATCH, -1), 200, 20_000)) * (1 if pretrained else 3)
    longest = round(short * max(2.0, 1.1 * figures.long / figures.short))
    return Choices(
        task, short, longest, strides, anchors_for(sides, figures.shapes, strides), steps, flips, flip_reason
    )


def recipe_text(
    choices: Choices,
    figures: Figures,
    weights: Weights,
    classes: Sequence[str],
    keypoints: Sequence[str],
    data: dict[str, dict[str, Any]],
    title: str,
) -> str:
    """The whole recipe as YAML with comments."""
    return "\n".join(
        (
            f"# {title}",
            "# Written by det start; every value can be changed. docs/training.md explains the sections.",
            f"summary: {_flow(_summary(choices, classes))}",
            "",
            *_model(choices, figures, weights, classes, keypoints),
            "",
            *_weights(weights),
            "",
            *_data(choices, figures, data, len(keypoints)),
            "",
            *_train(choices, figures, weights),
            "",
        )
    )


_TYPES = {"detect": "faster_rcnn", "rotated": "faster_rcnn", "segment": "mask_rcnn", "pose": "keypoint_rcnn"}
_NAMES = {"detect": "Faster R-CNN", "rotated": "Faster R-CNN of rotated boxes", "segment": "Mask R-CNN"} | {
    "pose": "Keypoint R-CNN"
}
_METRICS = {"detect": "bbox/AP", "rotated": "bbox/AP", "segment": "segm/AP", "pose": "keypoints/AP"}


def _summary(choices: Choices, classes: Sequence[str]) -> str:
    names = ", ".join(classes[:4]) + (f" and {len(classes) - 4} more" if len(classes) > 4 else "")
    return f"{_NAMES[choices.task]} with MobileNetV2 and FPN on {names}"


def _flow(value: Any) -> str:
    """A value as YAML in one line."""
    return json.dumps(value, ensure_ascii=False)


def _model(
    choices: Choices, figures: Figures, weights: Weights, classes: Sequence[str], keypoints: Sequence[str]
) -> list[str]:
    low, middle, high = (round(value) for value in np.percentile(figures.relative * choices.short, (2, 50, 98)))
    frozen = "freeze_at: 2" if weights.source else "norm: BN"
    why = "the first layers keep their weights" if weights.source else "batch norms are trained: there are no weights"
    anchors = {"type": "anchor_generator", **choices.anchors}
    rotated = choices.task == "rotated"
    lines = [
        "model:",
        f"  type: {_TYPES[choices.task]}",
        f"  num_classes: {len(classes)} # {_commented(classes)}",
        "  backbone:",
        "    type: fpn",
        "    out_channels: 96",
        "    top: null",
        f"    # strides in pixels of the network's input; {why}",
        f"    bottom_up: {{type: torchvision, name: mobilenet_v2, strides: {list(choices.strides)}, {frozen}}}",
        "  proposal_generator:",
        "    type: rpn",
        f"    # objects have sides of {low} to {high} pixels here, the median is {middle}",
        "    anchor_generator:",
        f"      type: {anchors['type']}",
        f"      sizes: {anchors['sizes']}",
        f"      aspect_ratios: {anchors['aspect_ratios']} # height / width",
    ]
    if rotated:
        lines += ["      angles: [[-60, -30, 0, 30, 60, 90]]", "    box_weights: [1.0, 1.0, 1.0, 1.0, 1.0]"]
    lines += [
        "    nms: {pre_nms_topk_train: 500, post_nms_topk_train: 300, pre_nms_topk_test: 300, post_nms_topk_test: 200}",
        "  roi_heads:",
        "    type: standard_roi_heads",
        f"    pooler: {{sampling_ratio: 2{', pooling: ROIAlignRotated' if rotated else ''}}}",
        "    sampler: {batch_size_per_image: 64}",
        "    box_head: {type: fast_rcnn_conv_fc_head, num_fc: 2, fc_dim: 512}",
    ]
    if rotated:
        lines.append("    box_predictor: {box_weights: [10.0, 10.0, 5.0, 5.0, 1.0]}")
    if choices.task == "segment":
        lines.append("    train_on_predicted_boxes: true # masks are learned on such boxes as in predictions")
        lines.append("  mask_head: {type: mask_rcnn_conv_upsample_head, conv_dim: 96, pooler: {sampling_ratio: 2}}")
    if choices.task == "pose":
        head = f"type: keypoint_rcnn_conv_deconv_upsample_head, num_keypoints: {len(keypoints)}"
        lines.append(f"  keypoint_head: {{{head}, conv_dims: [128, 128, 128, 128]}} # {_commented(keypoints)}")
    return lines


def _commented(names: Sequence[str]) -> str:
    """Names for a comment in one line."""
    text = ", ".join(" ".join(name.split()) for name in names[:10]) + (", ..." if len(names) > 10 else "")
    return text.encode("ascii", "backslashreplace").decode()


def _weights(weights: Weights) -> list[str]:
    if weights.source:
        return [
            "weights: # ImageNet; --weights FILE of det start names others",
            f"  source: {_flow(weights.source)}",
            "  into: backbone.bottom_up",
        ]
    return [
        "# Random values: no weights were found. With mobilenet_v2-b0353104.pth of torchvision the training needs a",
        "# third of the steps and finds more: det start DATA --weights FILE writes the recipe for it.",
        "weights: null",
    ]


def _data(choices: Choices, figures: Figures, data: dict[str, dict[str, Any]], keypoints: int) -> list[str]:
    lines = ["data:"]
    for split, arguments in data.items():
        lines += [f"  {split}:", *(f"    {key}: {_flow(value)}" for key, value in arguments.items())]
    if choices.task in ("segment", "pose"):
        kinds = ["bbox", "segm" if choices.task == "segment" else "keypoints"]
        sigmas = f", sigmas: {[0.05] * keypoints}" if choices.task == "pose" and keypoints != 17 else ""
        lines += ["  evaluators:", f"    - {{type: coco, iou_types: {kinds}{sigmas}}}"]
    sizes = sorted({max(_STEP, choices.short + step) for step in (-_STEP, 0, _STEP)})
    resize = "det_core.data:ResizeShortestEdge"
    lines += [
        f"  # pictures of {figures.long:.0f} x {figures.short:.0f} (median); larger sizes find smaller objects, slowly",
        "  train_transforms:",
        f'    - {{type: "{resize}", size: {sizes}, max_size: {choices.longest}}}',
        f"    # {choices.flip_reason}",
        *(f'    - {{type: "torchvision.transforms.v2:Random{name.title()}Flip"}}' for name in choices.flips),
        "  eval_transforms:",
        f'    - {{type: "{resize}", size: {choices.short}, max_size: {choices.longest}}}',
        "  workers: 1",
    ]
    return lines


def _train(choices: Choices, figures: Figures, weights: Weights) -> list[str]:
    steps, every = choices.steps, max(1, choices.steps // 4)
    passes = steps * _BATCH / figures.images
    rate = 0.02 if weights.source else 0.01
    return [
        "train:",
        f"  steps: {steps} # {passes:.3g} passes over {figures.images} pictures; or epochs: N instead",
        f"  batch_size: {_BATCH}",
        f'  optimizer: {{type: "torch.optim:SGD", lr: {rate}, momentum: 0.9, weight_decay: 1.0e-4}}',
        f'  schedule: {{type: "det_core.engine:WarmupCosine", warmup: {min(200, max(20, steps // 8))}}}',
        "  clip_gradients: {limit: 10.0}",
        "  channels_last: true",
        f"  evaluate_every: {every}",
        f"  checkpoint_every: {every}",
        "  evaluate_batch_size: 4",
        "  validation_loss: false",
        f"  best_metric: {_METRICS[choices.task]} # chooses the weights in best.safetensors",
        "  log_every: 10",
    ]
