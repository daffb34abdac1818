"""Options about what goes into a model: a payload, values of inputs that never change, sizes of requests that are
drawn, and what requests are padded by. A config file may have them too; what is said here then counts in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from servefit.cli.options import TrustOptions
from servefit.cli.signatures import option
from servefit.errors import SpecError
from servefit.option_panels import TRAFFIC

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.model.given import Given
    from servefit.backends.payload.bodies import Bodies
    from servefit.search.request.config_schema import JobConfig

InputsOption = Annotated[
    list[str] | None,
    option(
        "Input of a network that is the same in all requests: a number, or zeros. For TorchScript, what an input "
        "takes: float32[rows,3,224,224]. Repeatable.",
        TRAFFIC,
        "NAME=VALUE",
        "--input",
    ),
]
PadOption = Annotated[
    str | None,
    option(
        "Requests of different sizes of a network are padded to go into one call: the input that says which places "
        "count, such as attention_mask; or zeros, if padding without one changes nothing.",
        TRAFFIC,
        "NAME|zeros",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadOptions:
    """Sample rows, and the headers with which a script is sent them."""

    payload: Annotated[
        Path | None,
        option("Sample rows: CSV, JSON, JSON Lines, NPY, NPZ, Parquet or a .tar.gz of them.", TRAFFIC, "FILE"),
    ] = None
    content_type: Annotated[
        str | None,
        option(
            "Of a payload for a script: the content type of its requests. Default: what the extensions of files say.",
            TRAFFIC,
            "TYPE",
        ),
    ] = None
    accept: Annotated[str | None, option("Of a payload for a script: what its requests accept.", TRAFFIC, "TYPE")] = (
        None
    )
    each_line: Annotated[bool, option("Of a payload for a script: a request a line of a file.", TRAFFIC)] = False

    def before(self, config: JobConfig) -> Self:
        """Return this, and what ``config`` says where this says nothing."""
        return replace(
            self,
            payload=self.payload or (Path(config.payload) if config.payload else None),
            content_type=self.content_type or config.content_type or None,
            accept=self.accept or config.accept or None,
            each_line=self.each_line or config.each_line,
        )

    def sample(self) -> Path | Bodies | None:
        """Return the payload, as Bodies where something is said of them. Raises SpecError without a payload."""
        if self.content_type is None and self.accept is None and not self.each_line:
            return self.payload
        if self.payload is None:
            raise SpecError(
                "payload", None, "is missing, of which a content type is said", remedy="give one with --payload"
            )
        from servefit.backends.payload.bodies import Bodies

        return Bodies(source=self.payload, content_type=self.content_type, accept=self.accept, each_line=self.each_line)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedInputOptions:
    """Inputs of a model that never change, where no requests are drawn."""

    inputs: InputsOption = None
    pad: PadOption = None

    def said(self) -> SaidOfInputs:
        """Return what the options say. Raises SpecError."""
        return SaidOfInputs.typed(self.inputs, pad=self.pad)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningOptions(PayloadOptions):
    """The payload, the inputs of a model that never change, and the requests that are drawn."""

    inputs: InputsOption = None
    sizes: Annotated[
        list[str] | None,
        option(
            "Without a payload: sizes of requests to draw, such as sequence=32,128. Repeatable.",
            TRAFFIC,
            "NAME=N,N",
            "--size",
        ),
    ] = None
    pad: PadOption = None

    def said(self) -> SaidOfInputs:
        """Return what the options say of inputs. Raises SpecError."""
        return SaidOfInputs.typed(self.inputs, self.sizes, self.pad)


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

    def opened(self, model: Path, payload: Path | Bodies | None, trust: TrustOptions) -> Path | Model:
        """Return the model, opened where something is said of its inputs. Raises SpecError, and what opening raises."""
        if not self.inputs and not self.sizes and self.pad is None:
            return model
        from servefit.backends.model import Model
        from servefit.profiler.procedures.prepare import check_there

        if self.sizes and payload is not None:
            raise SpecError("size", next(iter(self.sizes)), "is for requests that are drawn, and a payload is given")
        check_there(model, payload)
        return Model.load(model, **asdict(trust), inputs=self.inputs, sizes=self.sizes, pad=self.pad, sample=payload)


def _pairs(field: str, texts: Sequence[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not name or not equals or not value:
            raise SpecError(field, text, "is not NAME=VALUE")
        if name in pairs:
            raise SpecError(field, text, f"is said of {name!r:.60} a second time", remedy="say it once")
        pairs[name] = value
    return pairs


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise SpecError("size", text, "is not whole numbers with commas between them") from error
