"""Runs a recorded case from its published settings and gives what the model here says, under the names of the record.

The way is the one of every imported configuration: settings -> importer -> recipe -> model. Nothing is known of a case.
"""

import gzip
import importlib.util
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from det_core.ops.masks import paste_masks
from det_core.recipes import recipe_from_tree
from det_core.structures import ImageBatch, Polygons, Prediction, Proposals, Size, Targets
from det_core.weights import load_into
from det_detectron2.importer.files import recipe_from_settings
from torch import Tensor, nn

Arrays = dict[str, Any]


def _beside(name: str) -> ModuleType:
    """A module of this folder; tests are no package."""
    spec = importlib.util.spec_from_file_location(f"parity_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


densepose = _beside("densepose")
panoptic = _beside("panoptic")


def run_case(
    spec: Mapping[str, Any],
    inputs: Mapping[str, np.ndarray],
    images: Sequence[Tensor],
    state_dict: Mapping[str, Tensor],
    zoo: Mapping[str, Any],
) -> Arrays:
    """Inference, and the losses and gradients where `inputs` hold training truth.

    Args:
        spec: the case's description.
        inputs: "gt/IMAGE/..." arrays.
        images: float (3, H, W), values 0..255, channels in the order of spec["channel_order"].
        state_dict: the weights; all of the model's but spec["constants"].
        zoo: published configurations by name, for cases that hold no more than changes to one.
    """
    # So were the records made: dropout sees what is left after a model for inference and one for training.
    torch.manual_seed(0)
    names = [name for name, _, _ in spec["images"]]
    if spec.get("channel_order", spec["settings"].get("INPUT.FORMAT", "BGR")) == "BGR":
        images = [image.flip(0) for image in images]
    batch = ImageBatch.stack(images, _proposals(inputs, names))
    found = _inference(_model(spec, _settings(spec, zoo), state_dict), batch, names)
    if any(key.startswith("gt/") for key in inputs):
        extra = {**(spec.get("settings_training_extra") or {}), **panoptic.settings_of_truth(inputs)}
        settings = {**_settings(spec, zoo), **extra}
        model = _model(spec, settings, state_dict)
        things = getattr(model, "things", ())
        densepose.fix(model, spec.get("rules") or {})
        targets = [_targets(inputs, name, (height, width), things, settings) for name, height, width in spec["images"]]
        found |= panoptic.targets_made(model, names, targets) | _training(model, batch, targets)
    return found


def zoo_beside(cases: Path) -> dict[str, Any]:
    """The published configurations that lie beside a folder of cases, or in it: zoo.json.gz, or one file a package."""
    found: dict[str, Any] = {}
    for folder in (cases.parent, cases):
        for file in (folder / "zoo.json.gz", *sorted((folder / "zoo").glob("*.json.gz"))):
            if file.exists():
                found |= json.loads(gzip.decompress(file.read_bytes()))
    return found


def _settings(spec: Mapping[str, Any], zoo: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a case; that of a configuration that is a Python file refers to the zoo for what it keeps."""
    changes = dict(spec["settings"])
    published = zoo[spec["zoo"]]["settings"] if changes.pop("see", None) else {}
    return {**published, **changes}


def _model(spec: Mapping[str, Any], settings: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> nn.Module:
    recipe = recipe_from_tree(recipe_from_settings(settings).tree, source=spec["case"])
    model: nn.Module = recipe.build_model()
    constants = {key: value for key, value in model.state_dict().items() if key in spec.get("constants", ())}
    load_into(model, {**constants, **state_dict}, where=spec["case"])
    return model


def _targets(
    inputs: Mapping[str, np.ndarray], name: str, size: Size, things: Sequence[int], settings: Mapping[str, Any]
) -> Targets:
    labels = inputs[f"gt/{name}/classes"]
    boxes = inputs.get(f"gt/{name}/rotated_boxes", inputs[f"gt/{name}/boxes"])
    polygons, keypoints = inputs.get(f"gt/{name}/polygons"), inputs.get(f"gt/{name}/keypoints")
    semantic = inputs.get(f"gt/{name}/sem_seg")
    if semantic is not None:  # every 8th pixel, of classes that change every 8th at most
        semantic = np.kron(semantic, np.ones((8, 8), semantic.dtype))[: size[0], : size[1]].astype(np.int64)
    masks = None if polygons is None else Polygons.of([[ring] for ring in polygons])
    surfaces = densepose.is_given(inputs, name)
    return Targets(
        boxes=torch.from_numpy(boxes).float(),
        labels=torch.from_numpy(labels).long(),
        masks=densepose.masks(inputs, name, size) if surfaces else masks,
        extras=densepose.truth_extras(inputs, name, settings) if surfaces else {},
        keypoints=None if keypoints is None else torch.from_numpy(keypoints).float(),
        semantic=None if semantic is None else torch.from_numpy(semantic),
        image_extras=panoptic.truth_extras(inputs, name, things),
    )


def _proposals(inputs: Mapping[str, np.ndarray], names: Sequence[str]) -> list[Proposals] | None:
    """The proposals that were given to the model, if any were."""
    if not any(key.startswith("input/") for key in inputs):
        return None
    return [
        Proposals(
            boxes=torch.from_numpy(inputs[f"input/{name}/proposal_boxes"]),
            logits=torch.from_numpy(inputs[f"input/{name}/objectness_logits"]),
        )
        for name in names
    ]


def _inference(model: nn.Module, batch: ImageBatch, names: Sequence[str]) -> Arrays:
    seen: dict[str, Any] = {}
    for part, module in model.named_modules():
        if part in ("backbone", "proposal_generator", "roi_heads.keypoint_head"):
            module.register_forward_hook(lambda _module, _inputs, output, part=part: seen.__setitem__(part, output))
    with torch.inference_mode():
        predictions: list[Prediction] = model.eval()(batch)
    found: Arrays = {f"features/{level}": value for level, value in seen["backbone"].items()}
    proposals = seen["proposal_generator"][0] if "proposal_generator" in seen else [None] * len(names)
    if "roi_heads.keypoint_head" in seen:
        heatmaps = seen["roi_heads.keypoint_head"].split([len(p.detections or ()) for p in predictions])
        found |= {f"instances/{name}/pred_keypoint_heatmaps": own for name, own in zip(names, heatmaps, strict=True)}
    for name, proposed, prediction in zip(names, proposals, predictions, strict=True):
        for prefix, given in (("proposals", proposed), ("final_proposals", prediction.proposals)):
            if given is not None:
                found[f"{prefix}/{name}/boxes"] = given.boxes
                found[f"{prefix}/{name}/logits"] = given.logits
                found[f"{prefix}/{name}/count"] = np.array(len(given))
        if (semantic := prediction.semantic) is not None:
            found[f"sem_seg/{name}/logits"] = semantic.logits
            classes = semantic.logits.argmax(dim=0).flatten()
            found[f"sem_seg/{name}/argmax_hist"] = torch.bincount(classes, minlength=len(semantic.logits))
        if prediction.panoptic is not None:
            found |= panoptic.predicted(model, name, prediction.panoptic)
        if (detections := prediction.detections) is not None:
            found[f"instances/{name}/count"] = np.array(len(detections))
            found[f"instances/{name}/pred_boxes"] = detections.boxes
            found[f"instances/{name}/scores"] = detections.scores
            found[f"instances/{name}/pred_classes"] = detections.labels
            found |= densepose.predicted(name, detections)
            if detections.keypoints is not None:
                found[f"instances/{name}/pred_keypoints"] = detections.keypoints
            if detections.masks is not None:
                masks = paste_masks(detections.masks, detections.boxes, detections.size)
                found[f"instances/{name}/mask_area"] = masks.flatten(1).sum(1)
                found[f"instances/{name}/mask_bits_first5"] = np.packbits(masks[:5].numpy())
                found[f"instances/{name}/mask_shape"] = np.array(masks.shape)
    return found


def _training(model: nn.Module, batch: ImageBatch, targets: Sequence[Targets]) -> Arrays:
    losses: dict[str, Tensor] = model.train()(batch, targets)
    torch.stack(list(losses.values())).sum().backward()
    squares: dict[str, float] = defaultdict(float)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            squares[".".join(name.split(".")[:2])] += float(parameter.grad.double().square().sum())
    found: Arrays = {f"losses/{name}": value.detach() for name, value in losses.items()}
    return found | {f"grad_norm/{prefix}": np.array(square**0.5) for prefix, square in squares.items()}
