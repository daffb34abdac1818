"""Config files: a job as YAML, read for ``--config`` and written for ``--save-config`` and reports.

Their keys are in ``config_schema``, what is said of mistakes in ``config_problems``. Whatever is wrong with a
file is a SpecError with its name and the path within it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType

from servefit.backends.model.given import NOTHING_GIVEN, Given
from servefit.errors import SpecError
from servefit.search.request.arrivals import canonical_text, short_text
from servefit.search.request.config_problems import checked_config
from servefit.search.request.config_schema import JobConfig, PhaseConfig, RangeConfig, StairsConfig
from servefit.search.request.job_request import spell_flat_invocations
from servefit.search.request.plain_yaml import flow_yaml, load_yaml

if TYPE_CHECKING:
    from servefit.backends.payload.bodies import Bodies
    from servefit.backends.quality.limits import PrecisionLimits
    from servefit.profiler.record.traffic import ClosedLoop
    from servefit.search.request.job_request import EnvironmentRange, JobRequest

MAX_BYTES = 500_000
"""A job takes a few hundred, and one with the labels of 10,000 rows up to 25 for each; what is longer is some other
file."""


def read_config(path: Path) -> JobConfig:
    """Return the job in the file at ``path``, which makes a valid request. Paths in it, which are relative to its
    folder, are made such that they can be opened from here. Raises SpecError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError("config", str(path), f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise SpecError("config", str(path), f"is no job: it has more than {MAX_BYTES:,} bytes")
    config = parse_config(content, str(path))
    places = {"model": config.model, "payload": config.payload, "quality": config.quality}
    located = {name: str(path.parent / place) for name, place in places.items() if isinstance(place, str)}
    try:
        located["arrivals"] = canonical_text(config.arrivals, folder=path.parent)
    except SpecError as error:
        raise _in_file(str(path), error) from error
    return msgspec.structs.replace(config, **located)


def parse_config(content: bytes, source: str) -> JobConfig:
    """Return the job in ``content``, which makes a valid request; ``source`` names it in errors. Raises SpecError."""
    try:
        document = load_yaml(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SpecError("config", source, "is not UTF-8 text") from error
    except ValueError as error:
        raise SpecError("config", source, f"cannot be read as YAML: {error}") from error
    except SpecError as error:
        raise _in_file(source, error) from error
    if document is None:
        raise SpecError("config", source, "is empty", remedy="say at least what to measure, as in model: model.ubj")
    if not isinstance(document, dict):
        raise SpecError("config", source, "is no mapping", remedy="write keys and values, as in model: model.ubj")
    try:
        config = checked_config(document)
        config.request("job")
    except SpecError as error:
        raise _in_file(source, error) from error
    return config


def _in_file(source: str, error: SpecError) -> SpecError:
    field = f"{source}: {error.field}" if error.field else source
    return SpecError(field, error.value, error.problem, remedy=error.remedy)


def config_text(
    request: JobRequest,
    *,
    model: str | None,
    payload: str | None = None,
    bodies: Bodies | None = None,
    given: Given = NOTHING_GIVEN,
    sizes: Mapping[str, Sequence[int]] | None = None,
    wait_s: float | None = None,
    folder: Path | None = None,
) -> str:
    """Return ``request`` as a config file with comments, which reads back the same but for the name: that can be used
    once.

    Options that have their defaults are left out. ``model`` and ``payload`` are paths, absolute or from the file's
    folder; those of arrivals become relative to ``folder``, the file's own, if it is given. ``bodies`` say what the
    requests in a payload for a script are. ``given`` is what was said of the model's inputs, and ``sizes`` are those of
    requests that are drawn.
    """
    about = msgspec.json.schema(JobConfig)["$defs"]["JobConfig"]["properties"]
    lines = [
        "# A job for servefit: servefit recommend --config FILE",
        "# Paths are relative to this file's folder; servefit schema prints what else may be said.",
    ]
    usual = msgspec.to_builtins(JobConfig())
    config = msgspec.structs.replace(
        _config_of(request, wait_s, folder),
        model=UNSET if model is None else model,
        payload=UNSET if payload is None else payload,
        content_type=(bodies and bodies.content_type) or UNSET,
        accept=(bodies and bodies.accept) or UNSET,
        each_line=bodies is not None and bodies.each_line,
        input={name: _number(value) for name, value in given.inputs().items()} or UNSET,
        size={name: list(drawn) for name, drawn in (sizes or {}).items()} or UNSET,
        pad=UNSET if given.padded_by is None else given.padded_by,
    )
    for key, value in msgspec.to_builtins(config).items():
        if value == usual.get(key):
            continue
        sentence, *_ = re.split(r"(?<=\.) ", about[key]["description"])
        lines += ["", f"# {sentence}"]
        if isinstance(value, list) and isinstance(value[0], dict):
            lines += [f"{key}:", *(f"  - {flow_yaml(item)}" for item in value)]
        else:
            lines.append(f"{key}: {flow_yaml(value)}")
    return "\n".join(lines) + "\n"


def _config_of(request: JobRequest, wait_s: float | None, folder: Path | None) -> JobConfig:
    sla, traffic = request.sla, request.phases
    stairs = UNSET if traffic is None else _stairs(traffic)
    return JobConfig(
        rows_per_request=request.rows_per_request,
        sla={limit.percentile: f"{_digits(limit.limit_ms)}ms" for limit in sla.thresholds} or UNSET,
        rate=UNSET if sla.rate_per_s is None else f"{_digits(sla.rate_per_s)}/s",
        arrivals=short_text(request.arrivals, folder=folder),
        profile=list(request.profiles) or UNSET,
        cloud=list(request.clouds) or UNSET,
        backend=list(request.backends) or UNSET,
        env=_env([values for values in request.environment if not _is_left_out(values)]) or UNSET,
        secret_env=[values.variable for values in request.environment if _is_left_out(values)] or UNSET,
        batch=list(request.batch_sizes) or UNSET,
        batch_delay=[f"{delay_us}us" if delay_us else 0 for delay_us in request.batch_delays_us] or UNSET,
        goal=request.goal,
        cost_weight=request.cost_weight,
        phase=UNSET if traffic is None or stairs is not UNSET else _phases(traffic),
        stairs=stairs,
        flat_invocations=spell_flat_invocations(request.flat_invocations),
        max_tests=UNSET if request.max_tests is None else request.max_tests,
        max_parallel_tests=request.max_parallel_tests,
        budget=UNSET if request.budget_s is None else f"{_digits(request.budget_s)}s",
        deploy=UNSET if request.deploy is None else request.deploy,
        http=request.over_http,
        wait=UNSET if wait_s is None else f"{_digits(wait_s)}s" if wait_s else 0,
        seed=request.seed,
        allow_noise=request.allow_noise,
        allow_batch_dependence=request.allow_batch_dependence,
        **_precision(request.precision, folder),
    )


def _precision(limits: PrecisionLimits, folder: Path | None) -> dict[str, Any]:
    """Return the keys that say ``limits``. A file of labels becomes relative to ``folder``."""
    quality = limits.quality
    keys: dict[str, Any] = {"allow_precision": list(limits.allowed) or UNSET}
    if limits.deviations:
        keys["max_deviation"] = ",".join(map(str, limits.deviations))
    if quality is not None:
        place = _from_folder(quality.source, folder)
        keys["quality"] = list(quality.labels) if quality.source == "array" else place
        keys |= {"metric": quality.metric, "quality_drop": quality.drop}
    return keys


def _from_folder(path: str, folder: Path | None) -> str:
    """Return ``path`` as it is written in a file of ``folder``."""
    return path if folder is None else os.path.relpath(path, folder)


def _is_left_out(values: EnvironmentRange) -> bool:
    """Return whether ``values`` is one secret, which the environment has to hold when the file is run. An environment
    cannot hold several: placeholders are written for them, and must be replaced before the file can be run."""
    return values.holds_secrets and len(values.values) == 1 and not values.profiles


def _env(ranges: Sequence[EnvironmentRange]) -> Any:
    if not any(values.profiles for values in ranges):
        return {values.variable: _values(values.values) for values in ranges}
    return [
        RangeConfig(variable=values.variable, values=_values(values.values), profile=list(values.profiles) or UNSET)
        for values in ranges
    ]


def _values(texts: tuple[str, ...]) -> list[str | int]:
    """Return ``texts``, whole numbers as such where they read back as the same text."""
    return [int(text) if re.fullmatch(r"0|-?[1-9][0-9]{0,15}", text) else str(text) for text in texts]


def _stairs(traffic: ClosedLoop) -> StairsConfig | UnsetType:
    first, *others = traffic.phases
    if not others or first.spawn_per_minute or any(other != first for other in others):
        return UNSET
    return StairsConfig(steps=len(traffic.phases), users=first.initial_users, duration=f"{_digits(first.duration_s)}s")


def _phases(traffic: ClosedLoop) -> list[PhaseConfig]:
    return [
        PhaseConfig(
            users=phase.initial_users,
            spawn=f"{_digits(phase.spawn_per_minute)}/min" if phase.spawn_per_minute else 0,
            duration=f"{_digits(phase.duration_s)}s",
        )
        for phase in traffic.phases
    ]


def _number(value: float | str) -> float | str:
    """Return ``value`` as it is written best: a whole number without a point."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def _digits(number: float) -> str:
    """Return ``number`` as text that reads back the same: without a point where it is whole, and a float64 exactly."""
    return str(int(number)) if float(number).is_integer() and number < 1e15 else repr(float(number))
