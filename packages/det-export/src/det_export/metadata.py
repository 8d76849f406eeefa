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
    """Everything about an exported file that is needed to run it.

    Attributes:
        format: name of the exporter, such as "onnx".
        outputs, inputs: names of the outputs and inputs, in order.
        batch_size: number of images per run.
        any_batch: whether the file also takes fewer images.
        divisibility: height and width of the input are multiples of this, in pixels.
        smallest, largest: minimum and maximum of height and width of the input, in pixels.
        fixed: (height, width) of the input if it is fixed, else None.
        num_classes: number of foreground classes of the model.
        precision: "fp32", "bf16" or "int8".
        classes, category_ids: names of the labels, and their category ids in the dataset; may be empty.
        recipe: YAML text of `model` and `data`, for its `eval_transforms`; may be "".
        licence: licence of the weights (SPDX); "" if unknown.
        resize: rule for resizing a picture to the input of the model, see `det_export.preprocess`; {} if the
            transforms of the recipe are not such a rule.
        resizes: whether the file applies this rule to its input.
        finish: recipe nodes of the postprocessing steps after the program, safe parts of installed packages.
        versions: name -> version of the libraries that wrote the file.
        agreement: results of the check of the file; {} without a check.
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
        """The metadata as JSON text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def of_json(cls, text: str | bytes, where: str) -> "Metadata":
        """The metadata from the JSON text of a file; CheckpointError if it is not one that `to_json` writes."""
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
