"""Options about what goes into a model: values of inputs that never change, sizes of requests that are drawn, and what
requests are padded by. A config file may have them too; what is said here then counts in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from servefit.errors import SpecError
from servefit.option_panels import TRAFFIC

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.model.given import Given
    from servefit.backends.payload.bodies import Bodies
    from servefit.search.request.config_schema import JobConfig

InputsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=VALUE",
        help="Input of a network that is the same in all requests: a number, or zeros. For TorchScript, what an "
        "input takes: float32[rows,3,224,224]. Repeatable.",
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


ContentTypeOption = Annotated[
    str | None,
    typer.Option(
        metavar="TYPE",
        help="Of a payload for a script: the content type of its requests. Default: what the extensions of files say.",
        rich_help_panel=TRAFFIC,
    ),
]
AcceptOption = Annotated[
    str | None,
    typer.Option(metavar="TYPE", help="Of a payload for a script: what its requests accept.", rich_help_panel=TRAFFIC),
]
EachLineOption = Annotated[
    bool,
    typer.Option("--each-line", help="Of a payload for a script: a request a line of a file.", rich_help_panel=TRAFFIC),
]


def with_headers(
    payload: Path | None,
    content_type: str | None,
    accept: str | None,
    *,
    each_line: bool,
    config: JobConfig | None = None,
) -> Path | Bodies | None:
    """Return the payload, as Bodies where something is said of them, here or, where nothing is said here, in
    ``config``. Raises SpecError without a payload."""
    if config is not None:
        content_type = content_type or config.content_type or None
        accept = accept or config.accept or None
        each_line = each_line or config.each_line
    if content_type is None and accept is None and not each_line:
        return payload
    if payload is None:
        raise SpecError(
            "payload", None, "is missing, of which a content type is said", remedy="give one with --payload"
        )
    from servefit.backends.payload.bodies import Bodies

    return Bodies(source=payload, content_type=content_type, accept=accept, each_line=each_line)


PadOption = Annotated[
    str | None,
    typer.Option(
        "--pad",
        metavar="NAME|zeros",
        help="Requests of different sizes of a network are padded to go into one call: the input that says which "
        "places count, such as attention_mask; or zeros, if padding without one changes nothing.",
        rich_help_panel=TRAFFIC,
    ),
]


@dataclass(frozen=True, slots=True)
class SaidOfInputs:
    """The user's statements on a model's inputs; nothing where all are empty."""

    inputs: Mapping[str, float | str]
    sizes: Mapping[str, Sequence[int]]
    pad: str | None

    @classmethod
    def typed(cls, inputs: Sequence[str] | None, sizes: Sequence[str] | None = None, pad: str | None = None) -> Self:
        """Return what options say. Raises SpecError."""
        drawn = {name: _numbers(text) for name, text in _pairs("size", sizes).items()}
        return cls(_pairs("input", inputs), drawn, pad)

    def before(self, config: JobConfig) -> SaidOfInputs:
        """Return this, and what ``config`` says where this says nothing."""
        drawn = {name: [size] if isinstance(size, int) else size for name, size in (config.size or {}).items()}
        return SaidOfInputs(
            self.inputs or config.input or {},
            self.sizes or drawn,
            self.pad if self.pad is not None else config.pad or None,
        )

    def given(self) -> Given:
        """Return what becomes part of the model. Raises SpecError."""
        from servefit.backends.model.given import Given

        return Given.checked(self.inputs, self.pad)

    def opened(
        self, model: Path, payload: Path | Bodies | None, *, trust_pickle: bool, trust_code: bool = False
    ) -> Path | Model:
        """Return the model, opened where something is said of its inputs. Raises SpecError, and what opening raises."""
        if not self.inputs and not self.sizes and self.pad is None:
            return model
        from servefit.backends.model import Model
        from servefit.profiler.procedures.prepare import check_there

        if self.sizes and payload is not None:
            raise SpecError("size", next(iter(self.sizes)), "is for requests that are drawn, and a payload is given")
        check_there(model, payload)
        trust = {"trust_pickle": trust_pickle, "trust_code": trust_code}
        return Model.load(model, **trust, inputs=self.inputs, sizes=self.sizes, pad=self.pad, sample=payload)


def _pairs(field: str, texts: Sequence[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not name or not equals or not value:
            raise SpecError(field, text, "is not NAME=VALUE")
        if name in found:
            raise SpecError(field, text, f"is said of {name!r:.60} a second time", remedy="say it once")
        found[name] = value
    return found


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise SpecError("size", text, "is not whole numbers with commas between them") from error
