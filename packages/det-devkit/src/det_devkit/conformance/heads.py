"""The roles of heads: how a detector uses a head of each contract."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from det_core import contracts
from det_core.structures import Detections, Proposals, Size, Targets
from torch import Tensor, nn
from torch.nn import functional as F

from det_devkit.conformance.outputs import require_detections, require_each, require_losses, require_proposals
from det_devkit.conformance.placeholders import CHANNELS, STRIDES
from det_devkit.conformance.report import Failed
from det_devkit.conformance.roles import not_exportable, require_members, require_module
from det_devkit.conformance.synthetic import CLASSES, Scene, of_classes
from det_devkit.conformance.tensors import flat

__all__ = [
    "DenseHeadRole",
    "HeadInputs",
    "HeadRole",
    "ProposalGeneratorRole",
    "ROIHeadsRole",
    "RegionHeadRole",
    "SemanticHeadRole",
    "UnknownHead",
    "pooled",
    "split",
]


class HeadInputs(NamedTuple):
    """Inputs that a detector has when it calls a head; each head takes some of them."""

    features: dict[str, Tensor]
    sizes: list[Size]
    targets: list[Targets]
    regions: list[Proposals]
    matched_idxs: list[Tensor]


class HeadRole:
    """Base of the roles of heads.

    Args:
        config: arguments that the plugin gives, such as `channels` of other levels.
    """

    contract: type
    members: tuple[str, ...] = ()

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.channels: Mapping[str, int] = config.get("channels", CHANNELS)
        self.strides: Mapping[str, int] = config.get("strides", STRIDES)
        self.num_classes: int = config.get("num_classes", len(CLASSES))

    def parents(self) -> Mapping[str, Any]:
        """Levels of the backbone, and number of classes."""
        return {"channels": self.channels, "strides": self.strides, "num_classes": self.num_classes}

    def require(self, module: Any, scene: Scene) -> None:
        """The methods of the contract, and their return types."""
        require_module(module)
        require_members(module, self.contract, self.members)

    def inputs(self, module: Any, scene: Scene) -> Any:
        """Feature maps of the images, their targets, and regions near the targets."""
        targets = [of_classes(each, self.num_classes) for each in scene.targets]
        near = [_regions(each, size) for each, size in zip(targets, scene.sizes, strict=True)]
        features = _features(scene, self.channels, self.strides)
        return HeadInputs(features, list(scene.sizes), targets, [n[0] for n in near], [n[1] for n in near])

    def exportable(self, module: Any, inputs: Any) -> tuple[nn.Module, tuple[Any, ...]]:
        """Nothing."""
        return not_exportable(f"the number of outputs of a {self.contract.__name__} depends on the image")


class ProposalGeneratorRole(HeadRole):
    """Feature maps in, proposals out."""

    contract = contracts.ProposalGenerator

    def parents(self) -> Mapping[str, Any]:
        """Levels of the backbone."""
        return {"channels": self.channels, "strides": self.strides}

    def require(self, module: Any, scene: Scene) -> None:
        """Proposals of each image, and losses with targets."""
        super().require(module, scene)
        inputs = self.inputs(module, scene)
        proposals, losses = _pair(module(inputs.features, inputs.sizes))
        require_each(proposals, Proposals, len(scene), "forward")
        for one, size in zip(proposals, inputs.sizes, strict=True):
            require_proposals(one, size)
        if losses != {}:
            raise Failed("without targets, forward returns losses", "return {} in their place")
        require_losses(self.losses(module, inputs), "forward")

    def predict(self, module: Any, inputs: HeadInputs) -> list[dict[str, Tensor]]:
        """The proposals of each image."""
        return [flat(one) for one in module(inputs.features, inputs.sizes)[0]]

    def losses(self, module: Any, inputs: HeadInputs) -> dict[str, Tensor]:
        """The losses of the generator."""
        losses: dict[str, Tensor] = _pair(module(inputs.features, inputs.sizes, inputs.targets))[1]
        return losses


class ROIHeadsRole(HeadRole):
    """Feature maps and proposals in, detections out."""

    contract = contracts.ROIHeads
    members = ("losses", "predict", "predict_given_boxes")

    def require(self, module: Any, scene: Scene) -> None:
        """Losses, and detections of each image."""
        super().require(module, scene)
        inputs = self.inputs(module, scene)
        require_losses(self.losses(module, inputs), "losses")
        detections = module.predict(inputs.features, inputs.regions, inputs.sizes)
        require_each(detections, Detections, len(scene), "predict")
        for one, size in zip(detections, inputs.sizes, strict=True):
            require_detections(one, size, self.num_classes)
        before = _detections(inputs)
        after = module.predict_given_boxes(inputs.features, before)
        require_each(after, Detections, len(scene), "predict_given_boxes")
        if any(not torch.equal(new.boxes, old.boxes) for new, old in zip(after, before, strict=True)):
            fix = "keep the detections, and fill in masks, keypoints and extras alone"
            raise Failed("predict_given_boxes returns other boxes", fix)

    def predict(self, module: Any, inputs: HeadInputs) -> list[dict[str, Tensor]]:
        """The detections of each image."""
        return [flat(one) for one in module.predict(inputs.features, inputs.regions, inputs.sizes)]

    def losses(self, module: Any, inputs: HeadInputs) -> dict[str, Tensor]:
        """The losses of the second stage."""
        losses: dict[str, Tensor] = module.losses(inputs.features, inputs.regions, inputs.targets, inputs.sizes)
        return losses


class RegionHeadRole(HeadRole):
    """Feature maps and detections in, the same detections with another field or extra out."""

    contract = contracts.RegionHead
    members = ("losses", "predict")

    def require(self, module: Any, scene: Scene) -> None:
        """Losses, and the same detections with a field or an extra filled in."""
        super().require(module, scene)
        inputs = self.inputs(module, scene)
        require_losses(self.losses(module, inputs), "losses")
        before = _detections(inputs)
        after = module.predict(inputs.features, before)
        require_each(after, Detections, len(scene), "predict")
        for old, new in zip(before, after, strict=True):
            require_detections(new, old.size, self.num_classes)
            if len(new) != len(old) or not torch.equal(new.boxes, old.boxes):
                raise Failed("predict returns other boxes", "keep the detections, and fill in your own field or extra")
            if flat(new).keys() == flat(old).keys() and all(torch.equal(flat(new)[k], v) for k, v in flat(old).items()):
                raise Failed("predict fills nothing in", "return replace(detections, masks=...) or with an extra")

    def predict(self, module: Any, inputs: HeadInputs) -> list[dict[str, Tensor]]:
        """The detections of each image."""
        return [flat(one) for one in module.predict(inputs.features, _detections(inputs))]

    def losses(self, module: Any, inputs: HeadInputs) -> dict[str, Tensor]:
        """The losses of the head."""
        boxes = [regions.boxes for regions in inputs.regions]
        objects = [
            targets[matched_idxs] for targets, matched_idxs in zip(inputs.targets, inputs.matched_idxs, strict=True)
        ]
        losses: dict[str, Tensor] = module.losses(inputs.features, boxes, objects)
        return losses


class DenseHeadRole(HeadRole):
    """Feature maps in, detections out, without a second stage."""

    contract = contracts.DenseHead
    members = ("forward", "losses", "decode")

    def require(self, module: Any, scene: Scene) -> None:
        """A NamedTuple, from which losses and detections are computed."""
        super().require(module, scene)
        inputs = self.inputs(module, scene)
        outputs = module(inputs.features)
        if not (isinstance(outputs, tuple) and hasattr(outputs, "_fields")):
            raise Failed(f"forward returns a {type(outputs).__name__}", "return a NamedTuple of tensors")
        require_losses(module.losses(outputs, inputs.sizes, inputs.targets), "losses")
        detections = module.decode(outputs, inputs.sizes)
        require_each(detections, Detections, len(scene), "decode")
        for one, size in zip(detections, inputs.sizes, strict=True):
            require_detections(one, size, self.num_classes)

    def predict(self, module: Any, inputs: HeadInputs) -> list[dict[str, Tensor]]:
        """The detections of each image."""
        return [flat(one) for one in module.decode(module(inputs.features), inputs.sizes)]

    def losses(self, module: Any, inputs: HeadInputs) -> dict[str, Tensor]:
        """The losses of the head."""
        losses: dict[str, Tensor] = module.losses(module(inputs.features), inputs.sizes, inputs.targets)
        return losses

    def exportable(self, module: Any, inputs: HeadInputs) -> tuple[nn.Module, tuple[Any, ...]]:
        """The part before decoding."""
        return module, (inputs.features,)


class SemanticHeadRole(HeadRole):
    """Feature maps in, logits of all pixels out."""

    contract = contracts.SemanticHead
    members = ("forward", "losses")

    def require(self, module: Any, scene: Scene) -> None:
        """Logits of every class at image size, and losses."""
        super().require(module, scene)
        inputs = self.inputs(module, scene)
        logits = module(inputs.features)
        height, width = scene.sizes[0]
        fits = isinstance(logits, Tensor) and logits.ndim == 4 and logits.shape[:2] == (len(scene), self.num_classes)
        if not fits or logits.shape[2] < height or logits.shape[3] < width:
            actual = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            expected = f"({len(scene)}, {self.num_classes}, H, W) at the size of the input"
            raise Failed(f"forward returns {actual}", f"return logits {expected}")
        require_losses(self.losses(module, inputs), "losses")

    def predict(self, module: Any, inputs: HeadInputs) -> list[dict[str, Tensor]]:
        """The logits of each image."""
        return [{"logits": logits} for logits in module(inputs.features)]

    def losses(self, module: Any, inputs: HeadInputs) -> dict[str, Tensor]:
        """The losses of the head."""
        maps = [targets.semantic for targets in inputs.targets]
        losses: dict[str, Tensor] = module.losses(inputs.features, maps)
        return losses

    def exportable(self, module: Any, inputs: HeadInputs) -> tuple[nn.Module, tuple[Any, ...]]:
        """The whole head."""
        return module, (inputs.features,)


class UnknownHead(HeadRole):
    """A head without a declared contract, or with an unknown one."""

    def __init__(self, config: Mapping[str, Any], declared: str = "") -> None:
        super().__init__(config)
        self.declared = declared

    def parents(self) -> Mapping[str, Any]:
        """None; all required arguments are placeholders."""
        return {}

    def require(self, module: Any, scene: Scene) -> None:
        """Always fails."""
        fix = 'write contract = "RegionHead" in its class, or whichever of det_core.contracts it keeps'
        if self.declared:
            raise Failed(
                f"{type(module).__name__} declares the contract {self.declared!r}, which is none of heads", fix
            )
        raise Failed(f"{type(module).__name__} keeps no contract of heads: it declares none", fix)


def _pair(returned: Any) -> tuple[Any, Any]:
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise Failed(f"forward returns a {type(returned).__name__}", "return (proposals, losses)")
    return returned


def _features(scene: Scene, channels: Mapping[str, int], strides: Mapping[str, int]) -> dict[str, Tensor]:
    """Feature maps with image content in every pixel, the same for an image alone and in a batch."""
    pixels = scene.batch.pixels.float() / 64 - 2
    height, width = (-(-side // 32) * 32 for side in pixels.shape[-2:])
    pixels = F.pad(pixels, (0, width - pixels.shape[-1], 0, height - pixels.shape[-2]))
    features = {}
    for number, (level, stride) in enumerate(strides.items()):
        small = F.interpolate(pixels, (-(-height // stride), -(-width // stride)), mode="bilinear")
        random = torch.Generator().manual_seed(number)
        mix = torch.randn(channels[level], 3, generator=random)
        features[level] = torch.sin(torch.einsum("bchw,dc->bdhw", small, mix))
    return features


def _regions(targets: Targets, size: Size) -> tuple[Proposals, Tensor]:
    """Two regions near every object, best first, and the index of the object of each."""
    matched_idxs = torch.arange(len(targets)).repeat(2)
    boxes = targets.boxes[matched_idxs]
    random = torch.Generator().manual_seed(len(targets))
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    boxes = boxes + 0.1 * sides * (torch.rand(boxes.shape, generator=random) - 0.5)
    limit = torch.tensor([size[1], size[0], size[1], size[0]])
    boxes = boxes.clamp(min=0).minimum(limit)
    return Proposals(boxes=boxes, logits=torch.arange(len(boxes), 0, -1).float()), matched_idxs


def _detections(inputs: HeadInputs) -> list[Detections]:
    """Detections of a first stage."""
    per_image = zip(inputs.targets, inputs.regions, inputs.matched_idxs, inputs.sizes, strict=True)
    return [
        Detections(
            boxes=regions.boxes,
            labels=targets.labels[matched_idxs],
            scores=torch.linspace(0.9, 0.6, len(matched_idxs), device=regions.boxes.device),
            size=size,
        )
        for targets, regions, matched_idxs, size in per_image
    ]


def pooled(inputs: HeadInputs, channels: int, side: int) -> Tensor:
    """Pooled features of the regions: (regions of all images, channels, side, side)."""
    level = next(iter(inputs.features.values()))
    image = torch.cat([torch.full((len(r),), i) for i, r in enumerate(inputs.regions)])
    maps = F.interpolate(level, (side, side), mode="bilinear")[image]
    place = torch.cat([regions.boxes for regions in inputs.regions]).mean(dim=1)[:, None, None, None]
    mix = torch.linspace(-1, 1, channels)[:, None, None]
    return torch.sin(maps.mean(dim=1, keepdim=True) + place * mix)


def split(values: Tensor, regions: Sequence[Proposals]) -> list[Tensor]:
    """Rows of all regions, by image."""
    return list(values.split([len(each) for each in regions]))
