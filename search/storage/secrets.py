"""The secrets of a job: their values lie in a file of its folder that is its owner's alone, and nowhere else.

The database of jobs, which several people may share, has placeholders for them. Reading a job on the host that
measured it puts them back from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from servefit.backends.variables.secret import Secret
from servefit.search.results.recommendation import Trial
from servefit.search.storage.job_folder import job_folder
from servefit.state import write_atomically

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import EnvironmentRange, JobRequest
    from servefit.search.storage.header import JobHeader, JobState
    from servefit.search.storage.steps import Step

FILE = "secrets.json"
"""Values by what stands for them, by variable."""


def keep_secrets(ranges: Iterable[EnvironmentRange], folder: Path) -> None:
    """Write the secrets among ``ranges`` into the ``folder`` of their job. Raises StateError."""
    values: dict[str, dict[str, str]] = {}
    for varied in ranges:
        for value in varied.values:
            if isinstance(value, Secret):
                values.setdefault(varied.variable, {})[str(value)] = value.value
    if values:
        write_atomically(folder / FILE, msgspec.json.encode(values))


def header_with_secrets(header: JobHeader) -> JobHeader:
    """Return ``header`` as it was before it was kept, where this host has the secrets. Raises StateError."""
    if not any(varied.holds_secrets for varied in header.request.environment):
        return header
    kept = _kept(job_folder(header.request.name) / FILE)
    ranges = tuple(
        replace(varied, values=tuple(_known(kept.get(varied.variable, {}), value) for value in varied.values))
        for varied in header.request.environment
    )
    return replace(header, request=replace(header.request, environment=ranges))


def _kept(path: Path) -> dict[str, dict[str, str]]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, str]])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # It is of another host or user, or damaged: a value that is needed counts as unknown.
        return {}


def _known(values: dict[str, str], shown: str) -> str:
    return Secret(shown, values[shown]) if shown in values else shown


class SecretsOf:
    """Puts the secrets that ``request`` knows back into what was kept of its job."""

    def __init__(self, request: JobRequest) -> None:
        self._secrets = {
            (varied.variable, text): value
            for varied in request.environment
            for value in varied.values
            if isinstance(value, Secret)
            # Jobs from before there were secrets have the values themselves.
            for text in (str(value), value.value)
        }

    def in_step(self, step: Step) -> Step:
        if not self._secrets:
            return step
        configuration = None if step.configuration is None else self.in_configuration(step.configuration)
        result = self._in_trial(step.result) if isinstance(step.result, Trial) else step.result
        return replace(step, configuration=configuration, result=result)

    def in_state(self, state: JobState) -> JobState:
        return replace(state, naive=None if state.naive is None else self.in_configuration(state.naive))

    def in_configuration(self, configuration: Configuration) -> Configuration:
        environment = tuple((name, self._secrets.get((name, text), text)) for name, text in configuration.environment)
        return replace(configuration, environment=environment)

    def _in_trial(self, trial: Trial) -> Trial:
        measured = replace(trial.measurement, configuration=self.in_configuration(trial.measurement.configuration))
        return replace(trial, configuration=self.in_configuration(trial.configuration), measurement=measured)
