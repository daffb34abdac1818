"""``servefit compile``: one model, one backend, a folder with the artifact."""

from __future__ import annotations

from dataclasses import asdict
from math import isinf
from typing import Annotated

from servefit.cli.job_options import of_job
from servefit.cli.measuring import PrecisionOptions, parse_duration
from servefit.cli.opening import FixedInputOptions, PayloadOptions
from servefit.cli.options import ModelArgument, OutputOption, QuietOption, TrustOptions
from servefit.cli.output import FormatOption, OutputFormat, emit, warn
from servefit.cli.progress import showing_stage
from servefit.cli.signatures import option
from servefit.option_panels import SEARCH
from servefit.report.table import Table

CHECKS_S = 2.0
"""Time that comparing predictions takes, for the progress alone. A rough estimate, not measured for this model."""


def compile_(
    model: ModelArgument,
    backend: Annotated[str, of_job("backend", "Backend to compile with.")],
    output: OutputOption,
    payload: PayloadOptions,
    fixed: FixedInputOptions,
    target: Annotated[str, option("Processor: cpu or cuda.", SEARCH, "cpu|cuda")] = "cpu",
    *,
    precision: PrecisionOptions,
    budget: Annotated[
        str | None,
        option("Most time for all of it. Whatever hangs is named. Default: 10m for compiling.", SEARCH, "2m"),
    ] = None,
    trust: TrustOptions,
    form: FormatOption = OutputFormat.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Compile MODEL with one backend, check its predictions against the model's own library, and write the artifact.

    Example: servefit compile model.ubj -b onnxruntime -o compiled/
    """
    from servefit.backends.checking.verification import check_batch_dependence
    from servefit.backends.compilation import compile_model, estimate_s, export, is_cached
    from servefit.backends.finding.capabilities import backend as find_backend
    from servefit.backends.model import Model
    from servefit.backends.payload.reading import payload_for
    from servefit.backends.payload.types import unused_warning
    from servefit.backends.quality.limits import held_against_nothing
    from servefit.backends.types import Target
    from servefit.search.jobs.document import quality_document
    from servefit.time_limit import budget_of, within

    allowed = budget_of(parse_duration("budget", budget))
    find_backend(backend)
    limits, source = precision.limits(), payload.sample()
    processor = Target.named(target)
    with within(allowed), showing_stage(f"compiling with {backend}", quiet=quiet) as show_stage:
        subject = fixed.said().opened(model, source, trust)
        opened = subject if isinstance(subject, Model) else Model.load(subject, **asdict(trust), sample=source)
        sample = None if source is None else payload_for(opened, source)
        if sample is not None:
            opened = check_batch_dependence(opened, sample)
        cached = is_cached(opened, backend, processor, sample)
        show_stage(f"compiling with {backend}", takes_s=None if cached else CHECKS_S + estimate_s(opened, backend))
        compiled = compile_model(opened, backend, payload=sample, target=processor, precision=limits)
        export(compiled.artifact, output)
    for line in opened.warnings:
        warn(line)
    if compiled.quality is None and not limits.allows_nothing:
        warn(held_against_nothing(limits, backend))
    for line in () if sample is None else unused_warning(sample.source, sample.unused_columns):
        warn(line)
    left = compiled.artifact.facts.get("in_library")  # of a pipeline, which is taken apart
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
        **({} if left is None else {"steps_in_library": left}),
        "quality": quality_document(compiled.quality),
    }
    shown = {**document, "quality": None if compiled.quality is None else compiled.quality.text}
    if left is not None:
        shown["steps_in_library"] = ", ".join(left) or "none"
    rows = [[name.replace("_", " "), value] for name, value in shown.items() if name != "schema"]
    if compiled.quality is None:
        rows.pop()
    emit(Table(columns=("property", "value"), rows=rows), document, form)
