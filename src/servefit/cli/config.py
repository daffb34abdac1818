"""``--config`` and ``--save-config``: a job as a file. How the command line changes it is in ``job_options``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servefit.cli.signatures import option
from servefit.errors import SpecError
from servefit.option_panels import OUTPUT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from servefit.backends.model.given import Given
    from servefit.backends.payload.bodies import Bodies
    from servefit.search.request.config_schema import JobConfig
    from servefit.search.request.job_request import JobRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigOptions:
    """The files that a job is read from and written to."""

    config: Annotated[
        Path | None,
        option(
            "Read options that are not given here from FILE.yaml, which servefit schema describes. Paths in it are "
            "relative to its folder.",
            None,
            "FILE.yaml",
        ),
    ] = None
    save_config: Annotated[
        Path | None, option("First write all that is asked to FILE.yaml, for --config.", OUTPUT, "FILE.yaml")
    ] = None


def given_options(context: typer.Context) -> frozenset[str]:
    """Return the names of the parameters that are on the command line, whatever their values."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")


def check_variables_of_file(config: JobConfig, allowed: Collection[str]) -> None:
    """Raise SpecError for a variable of a job file that is neither listed nor ``allowed``: the file may come from
    someone else."""
    from servefit.backends.variables.allowed_variables import check_variables

    check_variables(
        ((variable.variable, value) for variable in config.variables() for value in variable.values),
        allowed,
        remedy="name it yourself with --allow-env {name} if you know who wrote the file",
    )


def model_of(config: JobConfig, model: Path | None) -> Path:
    """Return ``model``, or that of ``config`` where there is none. Raises SpecError where no model is named."""
    if model is not None:
        return model
    if not config.model:
        raise SpecError("model", None, "is missing", remedy="name one, or a file that names it with --config")
    return Path(config.model)


def write_config(
    request: JobRequest,
    model: Path,
    payload: Path | None,
    path: Path,
    *,
    bodies: Bodies | None,
    given: Given,
    sizes: Mapping[str, Sequence[int]],
    wait_s: float | None = None,
) -> None:
    """Write a config file. Paths below its folder are relative to that. Raises StateError."""
    from servefit.search.request.config_file import config_text
    from servefit.state import write_atomically

    folder = path.absolute().parent

    def relative(path: Path) -> str:
        absolute = path.absolute()
        return str(absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute)

    text = config_text(
        request,
        model=relative(model),
        payload=None if payload is None else relative(payload),
        bodies=bodies,
        given=given,
        sizes=sizes,
        wait_s=wait_s,
        folder=folder,
    )
    write_atomically(path, text.encode(), variable=None)
