"""Pictures as they enter a program: read, transformed as at inference, and padded."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from det_core import recipes
from det_core.data import compose, read_image
from det_core.errors import DataError
from det_core.files import IMAGE_SUFFIXES
from det_core.recipes import yaml as yamlfile
from det_core.structures import Sample
from torch import Tensor
from torchvision.transforms.v2 import functional

from det_export.exported import ExportedModel
from det_export.metadata import Metadata

__all__ = ["inputs_of", "listed"]

_MOST = 64


def listed(folder: Path | None, where: str, most: int = _MOST) -> list[Path]:
    """The first images of a folder, by name.

    Raises:
        DataError: the folder does not exist or contains no image.
    """
    names = sorted(folder.glob("*")) if folder is not None and folder.is_dir() else []
    images = [path for path in names if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise DataError(f"{where} {folder}", "is no folder with images", fix="name one that holds .jpg or .png files")
    return images[:most]


def inputs_of(
    pictures: Sequence[Path | tuple[str, Tensor]], recipe: str, metadata: Metadata, trust: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pixels uint8 (B, 3, H, W) and sizes int64 (B, 2) of each picture, B times the same, read as at inference.

    Pictures that are larger than a fixed input are scaled down to fit into it.

    Args:
        pictures: image files, or pairs of a name and pixels uint8 (3, H, W).
        recipe: YAML text of the recipe with `data.eval_transforms`; "" applies no transforms.
        metadata: metadata of the program that receives the pictures.
        trust: whether the recipe may name code outside the safe parts of installed plugins.
    """
    transforms: Sequence[object] = ()
    if recipe:
        tree = yamlfile.parse(recipe, "the recipe of the model")
        built = recipes.recipe_from_tree(tree, "the recipe of the model", trusted=trust)
        transforms = built.build_part("data.eval_transforms", Sequence[object]) or ()
    transform = compose(transforms)
    program = ExportedModel(lambda *_: [], metadata, "the program")
    for picture in pictures:
        pixels = read_image(picture) if isinstance(picture, Path) else picture[1]
        image = _fitting(transform(Sample(image=pixels)).image, metadata)
        size = (int(image.shape[1]), int(image.shape[2]))
        count = 1 if metadata.any_batch else metadata.batch_size
        yield program.entering([image] * count, [size] * count)


def _fitting(image: Tensor, metadata: Metadata) -> Tensor:
    """The image (3, H, W), no larger than the file takes."""
    sides = image.shape[-2:]
    scale = min(1.0, *(most / side for most, side in zip(metadata.fixed or sides, sides, strict=True)))
    size = [max(1, int(side * scale)) for side in sides]
    return image if scale == 1 else functional.resize(image, size, antialias=True)
