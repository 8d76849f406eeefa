"""Segments in recorded cases: the truth that a model is given, the targets that it makes of it, what it predicts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from det_core.structures import PanopticMap, Targets
from torch import Tensor, nn

Arrays = dict[str, Any]


def settings_of_truth(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Settings that the recorded targets were made with, whatever the case's own: the generator's default."""
    return {"INPUT.GAUSSIAN_SIGMA": 8} if any(key.endswith("/panoptic_ids") for key in inputs) else {}


def truth_extras(inputs: Mapping[str, np.ndarray], name: str, things: Sequence[int]) -> dict[str, Tensor]:
    """The image extras of a recorded image; {} where its segments are not recorded."""
    if f"gt/{name}/panoptic_ids" not in inputs:
        return {}
    recorded = inputs[f"gt/{name}/panoptic_ids"]
    segments = json.loads(str(inputs[f"gt/{name}/segments_info_json"]))
    ids = sum((recorded == segment["id"]) * place for place, segment in enumerate(segments, 1))
    rows = [(each["category_id"], each["category_id"] in things, each["iscrowd"]) for each in segments]
    return {
        "det-panoptic/ids": torch.from_numpy(np.asarray(ids, np.int32)),
        "det-panoptic/segments": torch.tensor(rows, dtype=torch.int64).reshape(-1, 3),
    }


def targets_made(model: nn.Module, names: Sequence[str], targets: Sequence[Targets]) -> Arrays:
    """What a model makes of its truth, under the names of the record; {} where it does not do so."""
    if not targets or "det-panoptic/ids" not in targets[0].image_extras:
        return {}
    from det_panoptic.segments import segments_of

    generate: Any = model.targets
    found: Arrays = {}
    for name, truth in zip(names, targets, strict=True):
        made = generate(segments_of(truth))
        maps = {
            "sem_seg": made.semantic,
            "center": made.centers[0],
            "offset": made.offsets,
            "sem_seg_weights": made.semantic_weights,
            "center_weights": made.center_weights,
            "offset_weights": made.offset_weights,
        }
        for key, value in maps.items():
            whole = value.double()
            found[f"targets/{name}/{key}/mean_std"] = torch.stack((whole.mean(), whole.std(correction=0)))
            found[f"targets/{name}/{key}/strided"] = value[..., ::8, ::8]
        found[f"targets/{name}/center_points"] = made.points
    return found


def predicted(model: nn.Module, name: str, panoptic: PanopticMap) -> Arrays:
    """The segments of an image, under the names of the record."""
    things = getattr(model, "num_things", None)
    listed: list[dict[str, Any]] | None = None
    if things is not None:  # Panoptic-DeepLab is published without a list of segments
        listed = [
            {
                "id": each["id"],
                "isthing": each["is_thing"],
                # Things and stuff are numbered by themselves there, and stuff begins with "things".
                "category_id": each["label"] if each["is_thing"] else each["label"] - things + 1,
            }
            for each in panoptic.segments
        ]
    return {
        f"panoptic/{name}/segment_ids": panoptic.ids[::4, ::4],
        f"panoptic/{name}/segments_info_json": np.array(json.dumps(listed)),
    }
