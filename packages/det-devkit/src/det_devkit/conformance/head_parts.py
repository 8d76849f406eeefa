"""The roles of the parts of heads and models: preprocessing, anchors, the head of an RPN, poolers."""

from collections.abc import Mapping
from typing import Any

import torch
from det_core import contracts
from det_core.structures import ImageBatch
from torch import Tensor, nn

from det_devkit.conformance.heads import HeadInputs, HeadRole, split
from det_devkit.conformance.report import Failed
from det_devkit.conformance.roles import not_exportable
from det_devkit.conformance.synthetic import Scene

__all__ = ["AnchorGeneratorRole", "PoolerRole", "PreprocessRole", "RPNHeadRole"]

_ANCHORS = 3
_DIVISIBILITY = 32


def _to_zero(values: list[Tensor]) -> dict[str, Tensor]:
    """A loss of any tensors: their mean magnitude."""
    return {"distance": torch.stack([value.float().square().mean() for value in values if value.numel()]).sum()}


class PreprocessRole(HeadRole):
    """Images in, pixels for a backbone out."""

    contract = contracts.Preprocess
    members = ("forward",)

    def parents(self) -> Mapping[str, Any]:
        """Divisor of height and width."""
        return {"divisibility": _DIVISIBILITY}

    def require(self, module: Any, scene: Scene) -> None:
        """Float32 pixels of padded sizes, zeros beyond each image."""
        super().require(module, scene)
        batch = self.inputs(module, scene)
        pixels = module(batch)
        if not isinstance(pixels, Tensor) or pixels.dtype != torch.float32:
            raise Failed(f"forward returns {type(pixels).__name__}", "return float32 (B, 3, H, W)")
        height, width = (-(-side // _DIVISIBILITY) * _DIVISIBILITY for side in batch.pixels.shape[-2:])
        if tuple(pixels.shape) != (len(batch), 3, height, width):
            fix = "pad height and width to multiples of the divisibility"
            raise Failed(f"forward returns {tuple(pixels.shape)} for {tuple(batch.pixels.shape)}", fix)
        for image, (h, w) in zip(pixels, batch.sizes, strict=True):
            if image[:, h:].any() or image[:, :, w:].any():
                raise Failed("the padding is not zero", "fill the padding with zeros, after normalizing")

    def inputs(self, module: Any, scene: Scene) -> ImageBatch:
        """Images as they come from a loader."""
        return scene.batch

    def predict(self, module: Any, inputs: ImageBatch) -> list[dict[str, Tensor]]:
        """The pixels of each image."""
        return [{"pixels": image} for image in module(inputs)]

    def losses(self, module: Any, inputs: ImageBatch) -> dict[str, Tensor]:
        """Mean magnitude of the pixels."""
        return _to_zero([module(inputs)])

    def exportable(self, module: Any, inputs: ImageBatch) -> tuple[nn.Module, tuple[Any, ...]]:
        """Nothing."""
        return not_exportable("preprocessing takes a batch of images, not tensors")


class AnchorGeneratorRole(HeadRole):
    """Feature maps in, anchors out."""

    contract = contracts.AnchorGenerator
    members = ("forward", "per_pixel", "box_dim")

    def parents(self) -> Mapping[str, Any]:
        """Strides of the levels."""
        return {"strides": self.strides}

    def require(self, module: Any, scene: Scene) -> None:
        """The declared number of anchors at every level."""
        super().require(module, scene)
        levels = list(self.inputs(module, scene).features.values())
        anchors = module(levels)
        expected = [
            (x.shape[-2] * x.shape[-1] * count, module.box_dim)
            for x, count in zip(levels, module.per_pixel, strict=True)
        ]
        if [tuple(each.shape) for each in anchors] != expected:
            shapes = [tuple(each.shape) for each in anchors]
            raise Failed(
                f"forward returns {shapes}; it declares {expected}", "return (H * W * per_pixel, box_dim) a level"
            )

    def predict(self, module: Any, inputs: HeadInputs) -> list[dict[str, Tensor]]:
        """The anchors of each level, the same for every image."""
        anchors = module(list(inputs.features.values()))
        return [{str(i): each for i, each in enumerate(anchors)} for _ in inputs.sizes]

    def losses(self, module: Any, inputs: HeadInputs) -> dict[str, Tensor]:
        """Distance of the anchors from the origin."""
        return _to_zero(module(list(inputs.features.values())))

    def exportable(self, module: Any, inputs: HeadInputs) -> tuple[nn.Module, tuple[Any, ...]]:
        """The whole generator."""
        return module, (list(inputs.features.values()),)


class RPNHeadRole(HeadRole):
    """Feature maps in, logits and offsets of anchors out."""

    contract = contracts.RPNHead
    members = ("forward",)

    def parents(self) -> Mapping[str, Any]:
        """Channels of the levels, and anchors per pixel."""
        return {"in_channels": next(iter(self.channels.values())), "anchors": _ANCHORS, "box_dim": 4}

    def require(self, module: Any, scene: Scene) -> None:
        """One logit and four offsets for each anchor of each level."""
        super().require(module, scene)
        levels = list(self.inputs(module, scene).features.values())
        logits, offsets = module(levels)
        counts = [x.shape[-2] * x.shape[-1] * _ANCHORS for x in levels]
        shapes = [tuple(x.shape) for x in logits], [tuple(x.shape) for x in offsets]
        expected = [(len(scene), n) for n in counts], [(len(scene), n, 4) for n in counts]
        if shapes != expected:
            raise Failed(f"forward returns {shapes}", f"return logits and offsets of the shapes {expected}")

    def predict(self, module: Any, inputs: HeadInputs) -> list[dict[str, Tensor]]:
        """Logits and offsets of each image."""
        logits, offsets = module(list(inputs.features.values()))
        return [
            {
                f"{name}{level}": x[i]
                for name, levels in (("logits", logits), ("offsets", offsets))
                for level, x in enumerate(levels)
            }
            for i in range(len(inputs.sizes))
        ]

    def losses(self, module: Any, inputs: HeadInputs) -> dict[str, Tensor]:
        """Distance of all outputs from one."""
        logits, offsets = module(list(inputs.features.values()))
        return _to_zero([x - 1 for x in (*logits, *offsets)])

    def exportable(self, module: Any, inputs: HeadInputs) -> tuple[nn.Module, tuple[Any, ...]]:
        """The whole head."""
        return module, (list(inputs.features.values()),)


class PoolerRole(HeadRole):
    """Feature maps and regions in, squares of features out."""

    contract = contracts.Pooler
    members = ("forward", "resolution", "box_dim")

    def parents(self) -> Mapping[str, Any]:
        """Strides of the levels."""
        return {"strides": list(self.strides.values())}

    def require(self, module: Any, scene: Scene) -> None:
        """A square of the declared side for every region."""
        super().require(module, scene)
        inputs = self.inputs(module, scene)
        out = self._pooled(module, inputs)
        expected = (sum(map(len, inputs.regions)), next(iter(self.channels.values())), *(module.resolution,) * 2)
        if tuple(out.shape) != expected:
            raise Failed(f"forward returns {tuple(out.shape)}; it declares {expected}", "return (P, C, R, R)")

    def predict(self, module: Any, inputs: HeadInputs) -> list[dict[str, Tensor]]:
        """The pooled features of each image's regions."""
        return [{"pooled": rows} for rows in split(self._pooled(module, inputs), inputs.regions)]

    def losses(self, module: Any, inputs: HeadInputs) -> dict[str, Tensor]:
        """Mean magnitude of the features."""
        pooled = self._pooled(module, inputs)
        return _to_zero([pooled]) if pooled.numel() else {"distance": pooled.sum()}

    def exportable(self, module: Any, inputs: HeadInputs) -> tuple[nn.Module, tuple[Any, ...]]:
        """Nothing."""
        return not_exportable("the level of a region depends on the region")

    def _pooled(self, module: Any, inputs: HeadInputs) -> Tensor:
        pooled: Tensor = module(list(inputs.features.values()), [each.boxes for each in inputs.regions])
        return pooled
