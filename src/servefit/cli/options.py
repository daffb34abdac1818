"""Arguments and options that several commands share, and sets of them. Those of jobs too are in ``measuring``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from servefit.cli.completion import job_names
from servefit.cli.signatures import option
from servefit.errors import SpecError
from servefit.option_panels import MACHINE, OUTPUT, SEARCH

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A file, a folder or a .tar.gz.")]
JobArgument = Annotated[
    str,
    typer.Argument(metavar="JOB", autocompletion=job_names, help="The name of a job; servefit jobs lists them."),
]
TrustOption = Annotated[
    bool,
    option("Open MODEL if it is a pickle or a module of PyTorch. That runs its code: do it if you know who made it."),
]
TrustCodeOption = Annotated[
    bool, option("Run the script in MODEL (code/inference.py), and measure that: do it if you know who made it.")
]
AllowEnvOption = Annotated[
    list[str] | None,
    option(
        "A variable that a job file, or a job of a shared database, may set beside those that tune runtimes. "
        "Repeatable.",
        SEARCH,
        "NAME",
    ),
]
NoWaitOption = Annotated[bool, option("Do not wait while something else measures on this machine.", MACHINE)]
QuietOption = Annotated[bool, option("No progress on stderr.", OUTPUT, None, "--quiet", "-q")]
HostOption = Annotated[
    str | None, option("Of a job on a fleet: only what it found on hosts like that.", OUTPUT, "HOST")
]
OutputOption = Annotated[Path, option("Folder to write; new or empty.", OUTPUT, "DIR", "--output", "-o")]
StorageOption = Annotated[
    str | None,
    option(
        "Database that keeps jobs, such as postgresql://user@server/jobs. Default: what SERVEFIT_STORAGE says, else "
        "one in the state folder.",
        OUTPUT,
        "URL",
        variable="SERVEFIT_STORAGE",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustOptions:
    """Consent to run code of a model."""

    trust_pickle: TrustOption = False
    trust_code: TrustCodeOption = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitOptions:
    """The wait for something else that measures on this machine."""

    wait: Annotated[
        str | None,
        option(
            "How long to wait while something else measures on this machine. Default: until it is done.",
            MACHINE,
            "60s",
        ),
    ] = None
    no_wait: NoWaitOption = False

    def wait_s(self) -> float | None:
        """Return the longest wait that is allowed, in seconds; None where nothing is said of it. Raises SpecError."""
        from servefit.quantities import parse_duration_s

        if self.wait is None:
            return 0.0 if self.no_wait else None
        if self.no_wait:
            raise SpecError("no-wait", None, "cannot be combined with --wait", remedy="give one of them")
        return parse_duration_s("wait", self.wait)
