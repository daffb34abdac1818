"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servefit.cli.completion import job_names, shape_names
from servefit.errors import SpecError

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A file, a folder or a .tar.gz.")]
PayloadOption = Annotated[
    Path | None,
    typer.Option(
        "--payload", metavar="FILE", help="Sample rows: CSV, JSON, JSON Lines, NPY, NPZ or a .tar.gz of them."
    ),
]
RowsOption = Annotated[int, typer.Option("--rows-per-request", help="Rows of the payload in one request.")]
SeedOption = Annotated[int, typer.Option(help="Seed of everything random: traffic, synthetic rows, search.")]
TrustOption = Annotated[
    bool, typer.Option("--trust-pickle", help="Unpickle MODEL. Unpickling runs code: do it if you know who made it.")
]
SecretOption = Annotated[
    list[str] | None,
    typer.Option(
        "--secret-env",
        metavar="NAME",
        help="A variable whose value is shown to nobody, as with names that look like it (API_TOKEN). Without --env it "
        "has the value that it has here. Repeatable.",
    ),
]
PhaseOption = Annotated[
    list[str] | None,
    typer.Option(
        "--phase", metavar="users=2,spawn=2/min,duration=120s", help="A phase of closed-loop traffic. Repeatable."
    ),
]
ArrivalsOption = Annotated[
    str | None,
    typer.Option(
        "--arrivals",
        metavar="NAME[:k=v,...]",
        autocompletion=shape_names,
        help="How requests arrive at --rate: poisson (default), constant, steps:rates=100/s+300/s, "
        "ramp:from=0,to=500/s, sine:amplitude=50%,period=4s, bursts:factor=4,burst=100ms,quiet=300ms or "
        "replay:FILE,speed=1,loop=yes. Without --rate those that name rates come at their own.",
    ),
]
ConstantOption = Annotated[
    bool, typer.Option("--constant", help="The same as --arrivals constant, which to say instead: this will go.")
]
NoiseOption = Annotated[
    bool, typer.Option("--allow-noise", help="Judge measurements that the machine got in the way of all the same.")
]
BatchDependenceOption = Annotated[
    bool,
    typer.Option("--allow-batch-dependence", help="Join requests even where that changes their predictions."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
WaitOption = Annotated[
    str | None,
    typer.Option(
        "--wait",
        metavar="60s",
        help="How long to wait while something else measures on this machine. Default: until it is done.",
    ),
]
NoWaitOption = Annotated[
    bool, typer.Option("--no-wait", help="Do not wait while something else measures on this machine.")
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Database that keeps jobs, such as postgresql://user@server/jobs; one in the state folder."
    ),
]
JobArgument = Annotated[
    str,
    typer.Argument(metavar="JOB", autocompletion=job_names, help="The name of a job; servefit jobs lists them."),
]


def parse_arrivals(arrivals: str | None, *, constant: bool = False) -> str:
    """Return what the two options come to: the text of a shape. Raises SpecError where both are given."""
    if not constant:
        return "poisson" if arrivals is None else arrivals
    if arrivals is not None:
        raise SpecError("constant", None, "cannot be combined with --arrivals", remedy="say --arrivals constant")
    return "constant"


def going(*, constant: bool) -> tuple[str, ...]:
    """Return what to warn of where an option is used that will go."""
    return ("--constant will go; say --arrivals constant",) if constant else ()


def parse_wait_s(wait: str | None, no_wait: bool) -> float | None:
    """What the two options come to, in seconds; None where neither is given. Raises SpecError."""
    from servefit.quantities import parse_duration_s

    if wait is None:
        return 0.0 if no_wait else None
    if no_wait:
        raise SpecError("no-wait", None, "cannot be combined with --wait", remedy="give one of them")
    return parse_duration_s("wait", wait)
