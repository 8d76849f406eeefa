"""Recorded single operations of DensePose that concern its losses: predictions at points, resampled parts, losses."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Arrays = Mapping[str, Any]
Noise = Callable[[str, int], np.ndarray]

FIELDS = ("coarse_segm", "fine_segm", "u", "v", "sigma_2", "kappa_u", "kappa_v", "embedding")
CONFIDENCES = {"iid_iso": ("sigma_2",), "indep_aniso": ("sigma_2", "kappa_u", "kappa_v")}


def reproduced(recorded: Arrays, noise: Noise) -> dict[str, Any]:
    """All of the record that this package's losses compute, under the same names.

    Args:
        recorded: the arrays of densepose_ops.npz.
        noise: `refpack.unit_noise`.
    """
    made = Recorded(recorded, noise)
    found: dict[str, Any] = {**made.points(), **made.resampled()}
    for key in dict.fromkeys(key.split("/")[0] for key in recorded if key.startswith("loss_")):
        found |= made.losses(key)
    return found


class Recorded:
    """The inputs of the record as structures of this project."""

    def __init__(self, recorded: Arrays, noise: Noise) -> None:
        self.recorded, self.noise = recorded, noise
        self.rules = json.loads(str(recorded["input/rules_json"]))
        self.tag = str(recorded["input/tag"])
        self.counts = recorded["input/loss/points"].tolist()
        self.boxes = torch.from_numpy(recorded["input/loss/est_boxes"])
        self.images = torch.from_numpy(recorded["input/loss/image_of"])

    def ruled(self, name: str) -> Tensor:
        """An input that is stored as a rule."""
        shape, factor, offset = self.rules[name]
        values = offset + factor * self.noise(f"{self.tag}/{name}", int(np.prod(shape)))
        return torch.from_numpy(values.astype(np.float32)).reshape(shape)

    def targets(self, region: int, kind: str, parts: bool = True) -> Any:
        """The object that a region stands for, with points of `kind`, "charts" or "vertices"."""
        from det_core.structures import Targets
        from det_densepose.structures import COARSE, FRAME, MESH, POINTS, SURFACE, UNKNOWN, mesh_id

        box = torch.from_numpy(self.recorded["input/loss/gt_boxes"])[region]
        count = max(self.counts[region], 0)
        points, surface, mesh = torch.zeros(count, 2), torch.zeros(count, 4), -1
        if count:
            given = {
                key: torch.from_numpy(np.asarray(self.recorded[f"input/loss/{region}/{key}"]))
                for key in ("x", "y", "i", "u", "v", "vertex")
                if f"input/loss/{region}/{key}" in self.recorded
            }
            points = box[:2] + torch.stack((given["x"], given["y"]), 1) * (box[2:] - box[:2]) / 256
            if kind == "charts":
                surface = torch.stack((given["i"], given["u"], given["v"], torch.full((count,), -1.0)), 1)
            else:
                none = torch.zeros(count)
                surface = torch.stack((none - 1, none, none, given["vertex"].float()), 1)
                mesh = mesh_id(str(self.recorded[f"input/loss/{region}/mesh"]))
        coarse = torch.full((256, 256), UNKNOWN, dtype=torch.uint8)
        if parts and self.counts[region] >= 0:
            coarse = coarse_rule(region)
        x0, y0, x1, y1 = box.tolist()
        return Targets(
            boxes=box[None],
            labels=torch.zeros(1, dtype=torch.int64),
            masks=ellipse(box)[None],
            extras={
                POINTS: points[None],
                SURFACE: surface[None],
                MESH: torch.tensor([mesh]),
                COARSE: coarse[None],
                FRAME: torch.tensor([[[x0, y0], [x1, y0], [x0, y1]]]),
            },
        )

    def regions(self, rows: Sequence[int], kind: str = "charts", without_parts: Sequence[int] = ()) -> Any:
        """Some regions, each as if alone in its image: losses do not depend on images."""
        from det_densepose.losses import Regions

        targets = [self.targets(row, kind, row not in without_parts) for row in rows]
        return Regions([self.boxes[row : row + 1] for row in rows], targets)

    def points(self) -> dict[str, Tensor]:
        """The cells around all points, and predictions there."""
        from det_densepose.losses.points import cells_at_points

        rows = [row for row, count in enumerate(self.counts) if count > 0]
        regions = self.regions(range(len(self.counts)))
        cells = cells_at_points(regions.boxes, regions.points, self.ruled("loss/u").shape[-1])
        part = regions.surface[..., 0].flatten().long()
        cells, part = cells.select(part >= 0), part[part >= 0]
        x, y = cells.x_share, cells.y_share
        return {
            "points/j_valid": cells.valid,
            "points/x_lo": cells.x_low,
            "points/x_hi": cells.x_high,
            "points/y_lo": cells.y_low,
            "points/y_hi": cells.y_high,
            "points/w_ylo_xlo": (1 - y) * (1 - x),
            "points/w_ylo_xhi": (1 - y) * x,
            "points/w_yhi_xlo": y * (1 - x),
            "points/w_yhi_xhi": y * x,
            "points/bbox_indices": torch.tensor(rows),
            "points/point_bbox_indices": cells.region,
            "points/point_bbox_with_dp_indices": torch.searchsorted(torch.tensor(rows), cells.region),
            "points/u_at_label": cells.read(self.ruled("loss/u"), part),
            "points/fine_all_channels": cells.read(self.ruled("loss/fine_segm")),
        }

    def resampled(self) -> dict[str, Tensor]:
        """The coarse parts of the true boxes over the predicted ones."""
        from det_densepose.losses.coarse import resample_parts

        x0, y0, x1, y1 = torch.from_numpy(self.recorded["input/loss/gt_boxes"]).unbind(1)
        frames = torch.stack((torch.stack((x0, y0), 1), torch.stack((x1, y0), 1), torch.stack((x0, y1), 1)), 1)
        parts = torch.stack([coarse_rule(row) for row in range(len(frames))])
        keys = [key for key in self.recorded if key.startswith("resample/labels_")]
        return {key: resample_parts(parts, frames, self.boxes, int(key.rpartition("_")[2])) for key in keys}

    def losses(self, name: str) -> dict[str, Tensor]:
        """One recorded set of losses, each with its own gradients."""
        what = name.removeprefix("loss_")
        charts = what.startswith("chart") or what in CONFIDENCES
        outputs = self._outputs(what)
        loss, embedder = (_chart_loss(what), None) if charts else self._embedding_loss(what)
        rows = [2, 5] if what == "chart_no_valid_point" else range(len(self.counts))
        if what == "chart_no_valid_point":
            outputs = {key: value[rows].detach().requires_grad_() for key, value in outputs.items()}
        without = (3,) if what == "chart_one_without_dp_masks" else ()
        losses = loss(outputs, self.regions(rows, "charts" if charts else "vertices", without), embedder)
        found = {}
        leaves = {f"grad_{key}": value for key, value in outputs.items()}
        leaves |= {f"grad_mesh_{key}": value for key, value in (embedder.tables if embedder else {}).items()}
        for key, value in losses.items():
            found[f"{name}/{key}"] = value.detach()
            gradients = torch.autograd.grad(value, list(leaves.values()), retain_graph=True, allow_unused=True)
            for leaf, gradient in zip(leaves, gradients, strict=True):
                if gradient is not None:
                    found[f"{name}/{key}/{leaf}"] = gradient
        return found

    def _outputs(self, what: str) -> dict[str, Tensor]:
        embedding = not (what.startswith("chart") or what in CONFIDENCES)
        wanted = ("coarse_segm", "embedding") if embedding else ("coarse_segm", "fine_segm", "u", "v")
        prefix = "loss15" if what == "chart15" else "loss"
        fields = (*wanted, *CONFIDENCES.get(what, ()))
        return {field: self.ruled(f"{prefix}/{field}").requires_grad_() for field in fields}

    def _embedding_loss(self, what: str) -> tuple[Any, "Tables"]:
        from det_core.recipes import Factory
        from det_densepose import losses

        names = ["bench_61", "bench_40", *(["bench_52"] if what == "cycles_all_meshes" else [])]
        tables = Tables({name: self.ruled(f"mesh/{name}/embeddings").requires_grad_() for name in names})
        meshes = Factory(partial(Meshes, {name: self.ruled(f"mesh/{name}/position") for name in names}))
        cycles = what.startswith("cycles")
        shapes, pixels = losses.ShapeToShapeCycleLoss(1.0), losses.PixToShapeCycleLoss(1.0, max_pixels=10**9)
        pixels.all_meshes = what == "cycles_all_meshes"
        embedding: Any = losses.EmbeddingLoss(float(what.rpartition("_")[2]) if "sigma" in what else 0.1)
        loss = losses.DensePoseCseLoss(
            losses.CseWeights(1.0, 1.0),
            losses.SoftEmbeddingLoss(0.1, 0.1) if what == "soft_embed" or cycles else embedding,
            losses.CoarseLossFromMasks() if cycles else losses.CoarseLossFromParts(),
            shapes if what == "cycles" else None,
            pixels if cycles else None,
            meshes,
        )
        return loss, tables


class Tables:
    """Embeddings of vertices that are given."""

    def __init__(self, tables: Mapping[str, Tensor]) -> None:
        self.tables, self.names = dict(tables), tuple(tables)

    def __call__(self, mesh: str) -> Tensor:
        return F.normalize(self.tables[mesh], dim=1, eps=1e-6)


class Meshes:
    """Meshes whose distances are those in space."""

    def __init__(self, positions: Mapping[str, Tensor]) -> None:
        self.positions = positions

    def mesh(self, name: str) -> Any:
        from det_densepose.structures import Mesh

        position = self.positions[name]
        return Mesh(name, len(position), lambda: torch.cdist(position.double(), position.double()).float())


def _chart_loss(what: str) -> Any:
    from det_densepose import losses

    coarse = losses.CoarseLossFromMasks() if what == "chart_masks" else losses.CoarseLossFromParts()
    return losses.DensePoseChartLoss(losses.ChartWeights(1.0, 1.0, 1.0), coarse)


def coarse_rule(number: int) -> Tensor:
    """The coarse parts of the object of that number, uint8 (256, 256)."""
    y, x = np.mgrid[0:256, 0:256]
    return torch.from_numpy((((y // 48) * 5 + x // 64 + number) % 15).astype(np.uint8))


def ellipse(box: Tensor) -> Tensor:
    """The ellipse in a box, on an image of 120 x 160."""
    y, x = torch.meshgrid(torch.arange(120.0) + 0.5, torch.arange(160.0) + 0.5, indexing="ij")
    center, radius = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    return ((x - center[0]) / radius[0]) ** 2 + ((y - center[1]) / radius[1]) ** 2 <= 1
