"""A model whose scores are shifted until it detects nothing, one thing, and many; and what its file says then."""

import narrow_models
import torch
from det_core.plugins import registry
from det_core.structures import ImageBatch
from det_export.check import compare, shipped


def shifted(model, bias):
    """The state dict with other biases of the scores: of all classes, or of the background where there is one."""
    state = {key: value.clone() for key, value in model.state_dict().items()}
    for key in state:
        if key.endswith("cls_score.bias"):
            if "roi_heads" in key:
                state[key][-1] = -bias
            else:
                state[key][:] = bias
    return state


@torch.no_grad()
def bias_for_one(model, batch):
    """A bias with which the model has a single detection, by bisection."""
    low, high = -1e4, 1e4
    for _ in range(60):
        middle = (low + high) / 2
        model.load_state_dict(shifted(model, middle))
        count = len(model(batch)[0].detections)
        if count == 1:
            return middle
        low, high = (middle, high) if count == 0 else (low, middle)
    raise RuntimeError("no bias gives a single detection")


def require_counts(model, size, other, folder):
    """A file of `model`, traced with images of `size`, agrees at `other` with none, one and many detections."""
    one = bias_for_one(model, narrow_models.picture(other))
    example = ImageBatch(pixels=torch.zeros(1, 3, *size, dtype=torch.uint8), sizes=(size,))
    exporter = registry.find("exporters", "torch_export", "test").load()()
    path = exporter.export(model, example, folder / "model")
    program, metadata = exporter._last
    for bias, least, most in ((-1e6, 0, 0), (one, 1, 1), (one + max(3, abs(one) / 2), 2, 100)):
        state = shifted(model, bias)
        model.load_state_dict(state)
        for key in state:
            if key.endswith("cls_score.bias"):
                program.state_dict[f"model.{key}"].copy_(state[key])
        exporter.write(program, metadata, path)
        agreement = compare(model, exporter.load(path), shipped()[:1], [other], path)
        row = agreement.rows[0]
        assert least <= row.expected <= most, (bias, row)
        assert row.actual == row.expected
        assert agreement.agrees, agreement
