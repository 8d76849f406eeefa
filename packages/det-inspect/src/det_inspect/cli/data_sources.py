"""Datasets of a command: those of a recipe, or files named by options."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from det_core.errors import ConfigError

if TYPE_CHECKING:
    from det_core.contracts import Dataset
    from det_core.data.formats.listing import Listing
    from det_core.recipes import Factory

    from det_inspect.datasets.check import Source
    from det_inspect.datasets.check_listing import Rules

__all__ = ["Sources", "file_options", "source_options"]

_SPLITS = ("train", "val", "test")
_PLACE = click.Path(path_type=Path)


@dataclass(frozen=True)
class Sources:
    """Datasets given on the command line."""

    recipe: str | None
    overrides: tuple[str, ...]
    splits: tuple[str, ...]
    form: str
    images: tuple[Path, ...]
    annotations: tuple[Path, ...]
    folder: Path | None
    labels: tuple[Path, ...]
    classes: str | None

    def factories(self) -> "dict[str, Factory[Dataset]]":
        """Unbuilt dataset of each split, by display name."""
        return self._of_recipe() if self.recipe is not None else self._of_files()

    def listings(self) -> "dict[str, Listing]":
        """Unchecked file content of each split; ConfigError if its reader cannot list it."""
        return {split: listing_of(factory, f"data.{split}") for split, factory in self.factories().items()}

    def readers(self) -> "dict[str, Callable[[], Listing] | Source | Factory[Dataset]]":
        """Lister of the files of each split, with its reader's rules; or the dataset, if its reader cannot list."""
        from det_inspect.datasets.check import Source

        readers: dict[str, Any] = {}
        for split, factory in self.factories().items():
            lists = hasattr(factory.target, "listing")
            listing = functools.partial(listing_of, factory, f"data.{split}")
            if lists and self.recipe is not None:
                readers[split] = Source(listing, _rules_of(factory), factory)
            else:
                readers[split] = listing if lists else factory
        return readers

    def titles(self) -> list[str]:
        """Display name of all datasets together."""
        if self.recipe is not None:
            return [self.recipe]
        return [str(each) for each in (self.folder, *(self.annotations or self.images)) if each is not None]

    def _of_recipe(self) -> "dict[str, Factory[Dataset]]":
        from det_core import recipes

        if self.images or self.annotations or self.folder or self.labels or self.classes:
            raise click.UsageError("give a recipe, or options that name the files, not both")
        data = recipes.load(str(self.recipe), self.overrides).build("data")
        named = {split: getattr(data, split, None) for split in self.splits or _SPLITS}
        readers = {split: factory for split, factory in named.items() if factory is not None}
        if missing := [split for split in self.splits if split not in readers]:
            raise ConfigError(f"data.{missing[0]}", f"is not named by {self.recipe}")
        if not readers:
            raise ConfigError("data", f"{self.recipe} names no dataset")
        return readers

    def _of_files(self) -> "dict[str, Factory[Dataset]]":
        from det_core.plugins import registry
        from det_core.recipes import Factory

        if self.overrides:
            raise click.UsageError("--set changes a recipe; none is given")
        reader = registry.find("datasets", self.form).load()
        return {split: Factory(reader, **arguments) for split, arguments in self._arguments().items()}

    def _arguments(self) -> Mapping[str, dict[str, Any]]:
        """The arguments of the reader, by split."""
        classes = self._classes()
        class_arguments = {} if classes is None else {"classes": classes}
        if self.form == "voc":
            if self.folder is None:
                raise click.UsageError("voc needs --folder, and --split for the names of its lists")
            images = {"images": self.images[0]} if self.images else {}
            shared = {"folder": self.folder, "classes": classes, **images}
            return {split: {**shared, "split": split} for split in self.splits or _SPLITS[:1]}
        if self.form == "yolo":
            if not self.images or classes is None:
                raise click.UsageError("yolo needs --images, and --classes for their names")
            labels: Any = self.labels or (None,) * len(self.images)
            names = self._named(self.images)
            return {
                name: {"images": each, "labels": label, **class_arguments}
                for name, each, label in zip(names, self.images, labels, strict=True)
            }
        if not self.images or not self.annotations:
            raise click.UsageError(f"give a recipe, or --images and --annotations ({self.form})")
        images_of = self.images * len(self.annotations) if len(self.images) == 1 else self.images
        if len(images_of) != len(self.annotations):
            raise click.UsageError("give --images once, or once for each of --annotations")
        return {
            name: {"images": images, "annotations": each}
            for name, each, images in zip(self._named(self.annotations), self.annotations, images_of, strict=True)
        }

    def _classes(self) -> Any:
        """Class names, or for YOLO the file with them."""
        if self.classes is None:
            return None
        if self.form == "yolo" and Path(self.classes).is_file():
            return Path(self.classes)
        return [name.strip() for name in self.classes.split(",")]

    def _named(self, places: tuple[Path, ...]) -> tuple[str, ...]:
        """Display name of each split: by --split, or train, val, test if the file names contain these, or by number."""
        if self.splits:
            if len(self.splits) != len(places):
                raise click.UsageError("give --split once for each dataset, in their order")
            return self.splits
        splits = tuple(next((s for s in _SPLITS if s in place.stem.lower()), "") for place in places)
        if "" not in splits and len(set(splits)) == len(splits):
            return splits
        return _SPLITS[:1] if len(places) == 1 else tuple(f"part{n}" for n in range(1, len(places) + 1))


def listing_of(factory: "Factory[Dataset]", where: str) -> "Listing":
    """File content of an unbuilt dataset; ConfigError if its reader cannot list it."""
    from det_core.recipes.signatures import signature_of

    read = getattr(factory.target, "listing", None)
    if read is None:
        name = getattr(factory.target, "__name__", str(factory.target))
        raise ConfigError(
            where, f"{name} cannot list the content of its files", fix="give one of coco, lvis, voc or yolo"
        )
    arguments = {name: part.build() if hasattr(part, "build") else part for name, part in factory.arguments.items()}
    parameters = signature_of(read).arguments
    listing: Listing = read(**{name: value for name, value in arguments.items() if name in parameters})
    return listing


def _rules_of(factory: "Factory[Dataset]") -> "Rules":
    """Rules that the reader of an unbuilt dataset applies to the entries of its files."""
    from det_core.data.formats.coco import mask_form

    from det_inspect.datasets.check_listing import Rules

    arguments = {name: part.build() if hasattr(part, "build") else part for name, part in factory.arguments.items()}
    masks = arguments.get("masks", False)
    return Rules(mask_form(masks), bool(arguments.get("keypoints", False)), bool(arguments.get("rotated", False)))


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The argument and options that `Sources` holds, which the function gets as `sources`."""
    with_files = file_options(function)

    @functools.wraps(with_files)
    def with_recipe(recipe: str | None, **others: Any) -> Any:
        return with_files(recipe=recipe, **others)

    return click.argument("recipe", required=False, metavar="[RECIPE]")(with_recipe)


def file_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `Sources` holds, which the function gets as `sources`."""
    options = (
        click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Change a value of the recipe."),
        click.option("--split", "splits", multiple=True, metavar="NAME", help="train, val, test ...; may be repeated."),
        click.option(
            "--format", "form", default="coco", show_default=True, metavar="NAME", help="coco, lvis, voc or yolo."
        ),
        click.option("--images", multiple=True, type=_PLACE, metavar="DIR", help="The images; may be repeated."),
        click.option("--annotations", multiple=True, type=_PLACE, metavar="FILE", help="coco, lvis: may be repeated."),
        click.option("--folder", type=_PLACE, metavar="DIR", help="voc: with Annotations, ImageSets and JPEGImages."),
        click.option("--labels", multiple=True, type=_PLACE, metavar="DIR", help="yolo: if not beside the images."),
        click.option("--classes", metavar="NAMES", help="voc, yolo: a,b,c; yolo also data.yaml or classes.txt."),
    )

    @functools.wraps(function)
    def with_sources(recipe: str | None = None, **options: Any) -> Any:
        names = ("overrides", "splits", "form", "images", "annotations", "folder", "labels", "classes")
        return function(sources=Sources(recipe, **{name: options.pop(name) for name in names}), **options)

    decorated: Callable[..., Any] = with_sources
    for option in reversed(options):
        decorated = option(decorated)
    return decorated
