"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servefit.cli.completion import job_names, shape_names
from servefit.errors import SpecError
from servefit.option_panels import MACHINE, OUTPUT, SEARCH, TRAFFIC
from servefit.profiler.arrivals.registry import SHAPES, TYPED
from servefit.profiler.defaults import ARRIVALS

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A file, a folder or a .tar.gz.")]
PayloadOption = Annotated[
    Path | None,
    typer.Option(
        "--payload",
        metavar="FILE",
        help="Sample rows: CSV, JSON, JSON Lines, NPY, NPZ, Parquet or a .tar.gz of them.",
        rich_help_panel=TRAFFIC,
    ),
]
RowsOption = Annotated[
    int,
    typer.Option(
        "--rows-per-request", metavar="ROWS", help="Rows of the payload in one request.", rich_help_panel=TRAFFIC
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        metavar="NUMBER", help="Seed of everything random: traffic, synthetic rows, search.", rich_help_panel=MACHINE
    ),
]
RateOption = Annotated[
    str | None,
    typer.Option("--rate", metavar="500/s", help="Open loop: arrivals at this mean rate.", rich_help_panel=TRAFFIC),
]
StairsOption = Annotated[
    str | None,
    typer.Option(
        metavar="steps=4,users=2,duration=30s",
        help="Closed loop: so many more users every step.",
        rich_help_panel=TRAFFIC,
    ),
]
HistogramOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE.hlog", help="Export an HdrHistogram: .hlog or .hgrm.", rich_help_panel=OUTPUT),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-pickle",
        help="Open MODEL if it is a pickle or a module of PyTorch. That runs its code: do it if you know who made it.",
    ),
]
TrustCodeOption = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="Run the script in MODEL (code/inference.py), and measure that: do it if you know who made it.",
    ),
]
AllowEnvOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-env",
        metavar="NAME",
        help="A variable that a job file, or a job of a shared database, may set beside those that tune runtimes. "
        "Repeatable.",
        rich_help_panel=SEARCH,
    ),
]
SecretOption = Annotated[
    list[str] | None,
    typer.Option(
        "--secret-env",
        metavar="NAME",
        help="A variable whose value is shown to nobody, as with names that look like it (API_TOKEN). Without --env it "
        "has the value that it has here. Repeatable.",
        rich_help_panel=SEARCH,
    ),
]
PhaseOption = Annotated[
    list[str] | None,
    typer.Option(
        "--phase",
        metavar="users=2,spawn=2/min,duration=120s",
        help="A phase of closed-loop traffic. Repeatable.",
        rich_help_panel=TRAFFIC,
    ),
]
ArrivalsOption = Annotated[
    str | None,
    typer.Option(
        "--arrivals",
        metavar="NAME[:k=v,...]",
        autocompletion=shape_names,
        help=TYPED,
        rich_help_panel=TRAFFIC,
    ),
]
ConstantOption = Annotated[
    bool,
    typer.Option(
        "--constant",
        help="The same as --arrivals constant. Deprecated: use that instead.",
        rich_help_panel=TRAFFIC,
    ),
]
NoiseOption = Annotated[
    bool,
    typer.Option(
        "--allow-noise",
        help="Judge measurements that the machine got in the way of all the same.",
        rich_help_panel=MACHINE,
    ),
]
BatchDependenceOption = Annotated[
    bool,
    typer.Option(
        "--allow-batch-dependence",
        help="Join requests even where that changes their predictions.",
        rich_help_panel=SEARCH,
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--allow-precision",
        metavar="int8,bf16",
        help="Precisions of backends that predict less exactly, to allow. They need a limit.",
        rich_help_panel=SEARCH,
    ),
]
DeviationOption = Annotated[
    str | None,
    typer.Option(
        "--max-deviation",
        metavar="0.01",
        help="What they may change: a share of the largest value of a row; or cosine=0.995, the least cosine of "
        "vectors; or top1=0.999, the least share of rows in the same class.",
        rich_help_panel=SEARCH,
    ),
]
QualityOption = Annotated[
    Path | None,
    typer.Option(
        "--quality",
        metavar="labels.csv",
        help="Labels of the rows of the payload, by which they are scored: CSV or NPY.",
        rich_help_panel=SEARCH,
    ),
]
MetricOption = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help="The metric of quality: accuracy, auc, f1, r2, mae, recall@10, or a function package.module:name, which "
        "is run.",
        rich_help_panel=SEARCH,
    ),
]
DropOption = Annotated[
    str | None,
    typer.Option(
        "--quality-drop",
        metavar="0.5%",
        help="How much less the metric may be than that of the exact model.",
        rich_help_panel=SEARCH,
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.", rich_help_panel=OUTPUT)]
WaitOption = Annotated[
    str | None,
    typer.Option(
        "--wait",
        metavar="60s",
        help="How long to wait while something else measures on this machine. Default: until it is done.",
        rich_help_panel=MACHINE,
    ),
]
NoWaitOption = Annotated[
    bool,
    typer.Option(
        "--no-wait", help="Do not wait while something else measures on this machine.", rich_help_panel=MACHINE
    ),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="SERVEFIT_STORAGE",
        show_envvar=False,
        help="Database that keeps jobs, such as postgresql://user@server/jobs. Default: what SERVEFIT_STORAGE says, "
        "else one in the state folder.",
        rich_help_panel=OUTPUT,
    ),
]
JobArgument = Annotated[
    str,
    typer.Argument(metavar="JOB", autocompletion=job_names, help="The name of a job; servefit jobs lists them."),
]


def parse_arrivals(arrivals: str | None, *, constant: bool = False) -> str:
    """Return the text of the shape that the two options name. Raises SpecError where both are given."""
    SHAPES.warn_of_ignored()
    if not constant:
        return ARRIVALS if arrivals is None else arrivals
    if arrivals is not None:
        raise SpecError("constant", None, "cannot be combined with --arrivals", remedy="say --arrivals constant")
    return "constant"


def deprecations(*, constant: bool) -> tuple[str, ...]:
    """Return the warnings about options that are used and will be removed."""
    return ("--constant will go; say --arrivals constant",) if constant else ()


def parse_wait_s(wait: str | None, no_wait: bool) -> float | None:
    """Return the longest wait that the two options allow, in seconds; None where neither is given. Raises SpecError."""
    from servefit.quantities import parse_duration_s

    if wait is None:
        return 0.0 if no_wait else None
    if no_wait:
        raise SpecError("no-wait", None, "cannot be combined with --wait", remedy="give one of them")
    return parse_duration_s("wait", wait)
