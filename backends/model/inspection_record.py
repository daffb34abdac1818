"""The findings of an inspection of a model file, as the child hands it over and as the state folder keeps it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from servefit.backends.model.types import (
    Format,
    Input,
    Output,
    Padding,
    Signature,
    Signs,
    Size,
    Task,
    TreeStructure,
)

SCHEMA = 23
"""Raise it when an inspection finds out something else about the same file, so that old records are not used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """``file_name`` names the normalised model in the inspection's folder, or is None where the file may stay as it is.
    ``format`` is that of the file to use. ``splits_name`` names the NPZ of split values, if there are trees, and
    ``converted_name`` the ONNX file that a module of PyTorch became. ``batch_dependent``, ``ends_in_trees`` and
    ``ends_in_sum`` are what ``Model`` says of them."""

    format: Format
    signature: Signature
    trees: TreeStructure | None = None
    file_name: str | None = None
    splits_name: str | None = None
    converted_name: str | None = None
    warnings: tuple[str, ...] = ()
    batch_dependent: bool = False
    ends_in_trees: bool = False
    ends_in_sum: bool = False

    def to_json(self) -> bytes:
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Inspection:
        fields: dict[str, Any] = json.loads(content)
        del fields["schema"]
        signature, trees = fields.pop("signature"), fields.pop("trees")
        signature["task"], signature["signs"] = Task(signature["task"]), Signs(signature["signs"])
        for name in ("feature_names", "integer_features", "output_sizes"):
            signature[name] = tuple(signature[name])
        signature["inputs"] = tuple(
            Input(**{**item, "shape": tuple(item["shape"]), "known": tuple(item["known"])})
            for item in signature["inputs"]
        )
        signature["output_tensors"] = tuple(
            Output(**{**item, "shape": tuple(item["shape"])}) for item in signature["output_tensors"]
        )
        signature["sizes"] = tuple(Size(**{**item, "drawn": tuple(item["drawn"])}) for item in signature["sizes"])
        if (padding := signature["padding"]) is not None:
            lists = {name: tuple(padding[name]) for name in ("sizes", "others", "outputs", "shortest")}
            signature["padding"] = Padding(mask=padding["mask"], **lists)
        if trees is not None:
            trees["peculiarities"] = tuple(trees["peculiarities"])
        return cls(
            format=Format(fields.pop("format")),
            signature=Signature(**signature),
            trees=None if trees is None else TreeStructure(**trees),
            warnings=tuple(fields.pop("warnings")),
            **fields,
        )
