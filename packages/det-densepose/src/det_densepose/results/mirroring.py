"""Raw outputs of a mirrored image, as if the image had not been mirrored."""

from collections.abc import Mapping

import torch
from torch import Tensor

from det_densepose.bodies.symmetry import COARSE_SYMMETRY, PART_SYMMETRY

__all__ = ["mirror_raw"]

_OF_PARTS = ("fine_segm", "u", "v")
_CONFIDENCES_OF_PARTS = ("sigma_2", "kappa_u", "kappa_v")


def mirror_raw(
    fields: Mapping[str, Tensor], tables: tuple[Tensor, Tensor], confidences_of_parts: bool = True
) -> dict[str, Tensor]:
    """The fields (N, C, Z, Z) of regions in a mirror: flipped, left and right exchanged, u and v of the other side.

    Args:
        fields: raw outputs of a chart model by name; outputs of other names are flipped only.
        tables: u and v of the mirror image, as `det_densepose.data.BodySymmetry.tables` returns them.
        confidences_of_parts: whether sigma and kappa change places with their parts too. The published code leaves
            them where they are.
    """
    result = {name: value.flip(-1) for name, value in fields.items()}
    if "u" in result:
        row, column = ((result[name][:, 1:].clamp(0, 1) * 255).long() for name in ("v", "u"))
        part = torch.arange(row.shape[1], device=row.device)[None, :, None, None].expand_as(row)
        for name, table in zip(("u", "v"), tables, strict=True):
            value = result[name].clone()
            value[:, 1:] = table.to(value)[part, row, column]
            result[name] = value
    order = torch.tensor(PART_SYMMETRY)
    for name in _OF_PARTS + (_CONFIDENCES_OF_PARTS if confidences_of_parts else ()):
        if name in result:
            result[name] = result[name][:, order.to(result[name].device)]
    coarse = result.get("coarse_segm")
    if coarse is not None and coarse.shape[1] > 2:
        result["coarse_segm"] = coarse[:, torch.tensor(COARSE_SYMMETRY, device=coarse.device)]
    return result
