"""``servefit compile``: one model, one backend, a folder with the artifact."""

from __future__ import annotations

from math import isinf
from pathlib import Path
from typing import Annotated

import typer

from servefit.cli.completion import backend_names, one_of
from servefit.cli.opening import (
    AcceptOption,
    ContentTypeOption,
    EachLineOption,
    InputsOption,
    PadOption,
    SaidOfInputs,
    with_headers,
)
from servefit.cli.options import (
    DeviationOption,
    DropOption,
    MetricOption,
    ModelArgument,
    PayloadOption,
    PrecisionOption,
    QualityOption,
    QuietOption,
    TrustCodeOption,
    TrustOption,
)
from servefit.cli.output import FormatOption, OutputFormat, emit, warn
from servefit.cli.progress import showing_stage
from servefit.option_panels import OUTPUT, SEARCH
from servefit.report.table import Table

CHECKS_S = 2.0
"""Time that comparing predictions takes, for the progress alone. A rough estimate, not measured for this model."""


def compile_(
    model: ModelArgument,
    backend: Annotated[
        str,
        typer.Option(
            "--backend",
            "-b",
            metavar="NAME",
            autocompletion=backend_names,
            help="Backend to compile with.",
            rich_help_panel=SEARCH,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to write; new or empty.", rich_help_panel=OUTPUT),
    ],
    payload: PayloadOption = None,
    content_type: ContentTypeOption = None,
    accept: AcceptOption = None,
    each_line: EachLineOption = False,
    inputs: InputsOption = None,
    pad: PadOption = None,
    target: Annotated[
        str,
        typer.Option(
            metavar="cpu|cuda",
            autocompletion=one_of("cpu", "cuda"),
            help="Processor: cpu or cuda.",
            rich_help_panel=SEARCH,
        ),
    ] = "cpu",
    allow_precision: PrecisionOption = None,
    max_deviation: DeviationOption = None,
    quality: QualityOption = None,
    metric: MetricOption = None,
    quality_drop: DropOption = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="2m",
            help="Most time for all of it. Whatever hangs is named. Default: 10m for compiling.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    trust_pickle: TrustOption = False,
    trust_code: TrustCodeOption = False,
    form: FormatOption = OutputFormat.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Compile MODEL with one backend, check its predictions against the model's own library, and write the artifact.

    Example: servefit compile model.ubj -b onnxruntime -o compiled/
    """
    from servefit.backends.capabilities import backend as find_backend
    from servefit.backends.compilation import compile_model, estimate_s, export, is_cached
    from servefit.backends.model import Model
    from servefit.backends.payload.reading import payload_for
    from servefit.backends.payload.types import unused_warning
    from servefit.backends.quality.limits import PrecisionLimits, held_against_nothing
    from servefit.backends.types import Target
    from servefit.backends.verification import check_batch_dependence
    from servefit.quantities import parse_duration_s
    from servefit.search.jobs.document import quality_document
    from servefit.time_limit import budget_of, within

    allowed = budget_of(None if budget is None else parse_duration_s("budget", budget))
    find_backend(backend)
    limits = PrecisionLimits.of(
        allow_precision=() if allow_precision is None else allow_precision,
        max_deviation=max_deviation,
        quality=quality,
        metric=metric,
        quality_drop=quality_drop,
    )
    given = with_headers(payload, content_type, accept, each_line=each_line)
    processor = Target.named(target)
    with within(allowed), showing_stage(f"compiling with {backend}", quiet=quiet) as show_stage:
        said = SaidOfInputs.typed(inputs, pad=pad)
        subject = said.opened(model, given, trust_pickle=trust_pickle, trust_code=trust_code)
        opened = (
            subject
            if isinstance(subject, Model)
            else Model.load(subject, trust_pickle=trust_pickle, trust_code=trust_code, sample=given)
        )
        sample = None if given is None else payload_for(opened, given)
        if sample is not None:
            opened = check_batch_dependence(opened, sample)
        cached = is_cached(opened, backend, processor, sample)
        show_stage(f"compiling with {backend}", takes_s=None if cached else CHECKS_S + estimate_s(opened, backend))
        compiled = compile_model(opened, backend, payload=sample, target=processor, precision=limits)
        export(compiled.artifact, output)
    for line in opened.warnings if opened.signature.opaque else ():
        warn(line)
    if compiled.quality is None and not limits.allows_nothing:
        warn(held_against_nothing(limits, backend))
    for line in () if sample is None else unused_warning(sample.source, sample.unused_columns):
        warn(line)
    document = {
        "schema": 1,
        "backend": backend,
        "backend_version": compiled.artifact.backend_version,
        "target": processor.value,
        "model_digest": opened.digest,
        "output": str(output),
        "seconds": round(compiled.seconds, 3),
        "cached": compiled.cached,
        "rows_checked": compiled.rows_checked,
        # A script is compared with nothing.
        "max_abs_error": None if opened.signature.opaque else compiled.max_abs_error,
        # Nor is a difference from zeros a share of them.
        "max_rel_error": None if opened.signature.opaque or isinf(compiled.max_rel_error) else compiled.max_rel_error,
        "quality": quality_document(compiled.quality),
    }
    shown = {**document, "quality": None if compiled.quality is None else compiled.quality.text}
    rows = [[name.replace("_", " "), value] for name, value in shown.items() if name != "schema"]
    if compiled.quality is None:
        rows.pop()
    emit(Table(columns=("property", "value"), rows=rows), document, form)
