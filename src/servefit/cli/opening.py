"""Options about what goes into a model: values of inputs that never change, and sizes of requests that are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servefit.errors import SpecError
from servefit.option_panels import TRAFFIC

if TYPE_CHECKING:
    from servefit.backends.model import Model

InputsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=VALUE",
        help="Input of an ONNX model that is the same in all requests: a number, or zeros. Repeatable.",
        rich_help_panel=TRAFFIC,
    ),
]
SizesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--size",
        metavar="NAME=N,N",
        help="Without a payload: sizes of requests to draw, such as sequence=32,128. Repeatable.",
        rich_help_panel=TRAFFIC,
    ),
]


def with_inputs(
    model: Path,
    payload: Path | None,
    inputs: Sequence[str] | None,
    sizes: Sequence[str] | None,
    *,
    trust_pickle: bool,
) -> Path | Model:
    """Return the model, opened where something is said of its inputs. Raises SpecError, and what opening raises."""
    if not inputs and not sizes:
        return model
    from servefit.backends.model import Model
    from servefit.profiler.procedures.prepare import check_there

    if sizes and payload is not None:
        raise SpecError("size", sizes[0], "is for requests that are drawn, and a payload is given")
    check_there(model, payload)
    values = dict(_pair("input", text) for text in inputs or ())
    drawn = {name: _numbers(text) for name, text in (_pair("size", text) for text in sizes or ())}
    return Model.load(model, trust_pickle=trust_pickle, inputs=values, sizes=drawn)


def _pair(field: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise SpecError(field, text, "is not NAME=VALUE")
    return name, value


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise SpecError("size", text, "is not whole numbers with commas between them") from error
