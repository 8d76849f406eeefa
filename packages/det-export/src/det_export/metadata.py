"""The metadata of an exported file, as JSON."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from det_core.errors import CheckpointError
from det_core.structures import Size

__all__ = ["INPUTS", "KEY", "LONGEST", "PROPOSALS", "Metadata"]

KEY = "det"
INPUTS = ("pixels", "sizes")
"""The inputs of a program."""
PROPOSALS = "proposals"
"""A third one, of models that take proposals with an image: boxes float32 (N, 4), in its pixels."""
LONGEST = 4 * 2**20
"""Bytes of the JSON of a file that is read."""


@dataclass
class Metadata:
    """What a caller needs to run a file.

    Attributes:
        format: the name of its exporter.
        outputs, inputs: the name of each, in order.
        batch_size: images that it takes at once.
        any_batch: whether it takes fewer, too.
        divisibility: height and width of its input are multiples of this.
        smallest, largest: the minimum and maximum of height and width of its input.
        fixed: (height, width) of its input where they are fixed.
        num_classes: of the model.
        precision: "fp32", "bf16" or "int8".
        classes, category_ids: the name of each label, and the dataset's own number of it; may be empty.
        recipe: YAML of `model` and `data`, whose `eval_transforms` images go through; may be "".
        licence: of the weights; "" if unknown.
        resize: how a picture is brought to the size that the model wants, see `det_export.preprocess`; {} where the
            recipe has no plain rule.
        resizes: whether the file does that itself.
        finish: the nodes of the steps that follow the program, safe parts of installed packages.
        versions: of the libraries that wrote it.
        agreement: the results of the check of the file; {} without a check.
    """

    format: str
    outputs: Sequence[str]
    batch_size: int
    divisibility: int
    smallest: int
    largest: int
    fixed: Size | None
    num_classes: int
    classes: Sequence[str] = ()
    category_ids: Sequence[int] = ()
    recipe: str = ""
    precision: str = "fp32"
    any_batch: bool = False
    inputs: Sequence[str] = INPUTS
    licence: str = ""
    resize: Mapping[str, Any] = field(default_factory=dict)
    resizes: bool = False
    finish: Sequence[Mapping[str, Any]] = ()
    versions: Mapping[str, str] = field(default_factory=lambda: {"torch": str(torch.__version__)})
    agreement: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text in a file."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def of_json(cls, text: str | bytes, where: str) -> "Metadata":
        """From the text in a file; CheckpointError where it is none that `to_json` writes."""
        fix = "export the model again"
        if len(text) > LONGEST:
            raise CheckpointError(where, "has metadata that are too long", f"{len(text)} bytes", fix)
        try:
            metadata = cls(**json.loads(text))
            valid = metadata._is_valid()
        except (ValueError, TypeError, RecursionError) as error:
            raise CheckpointError(where, "has incomplete or damaged metadata", str(error)[:200], fix) from error
        if not valid:
            raise CheckpointError(where, "has incomplete or damaged metadata", "a value is out of range", fix)
        metadata.fixed = None if metadata.fixed is None else (metadata.fixed[0], metadata.fixed[1])
        return metadata

    def _is_valid(self) -> bool:
        """Whether all values from JSON have their types and ranges; TypeError where one has no length or items."""
        counts = (self.batch_size, self.divisibility, self.smallest, self.largest)
        texts = (*self.outputs, *self.classes, self.recipe, self.format, self.precision)
        return (
            all(type(count) is int and 1 <= count <= 65536 for count in counts)
            and all(isinstance(text, str) for text in texts)
            and all(isinstance(each, Mapping) for each in (self.versions, self.resize, self.agreement))
            and self.inputs in (INPUTS, [*INPUTS], [*INPUTS, PROPOSALS])
            and isinstance(self.finish, list)
            and all(isinstance(node, dict) for node in self.finish)
            and type(self.any_batch) is bool
            and type(self.num_classes) is int
            and all(type(number) is int for number in self.category_ids)
            and len(self.classes) in (0, self.num_classes)
            and len(self.category_ids) in (0, self.num_classes)
            and (self.fixed is None or (isinstance(self.fixed, list) and [type(n) for n in self.fixed] == [int, int]))
        )
