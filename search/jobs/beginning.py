"""The beginning of a job: what can be wrong with a request is found out before anything is measured, and what the job
is about is opened and kept.
"""

from __future__ import annotations

import io
import shutil
import time
from dataclasses import replace
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.errors import SpecError
from servefit.quantities import duration_text
from servefit.search.jobs.tasks import PREPARATION_S
from servefit.search.optimizer.clock import FINISHING_S
from servefit.search.request.arrivals import resolve_arrivals
from servefit.search.request.job_request import check_known
from servefit.search.results.measure_trial import min_test_s
from servefit.search.results.objectives.registry import objective as objective_named
from servefit.search.storage.header import JobHeader, JobHost, PayloadFacts, PlanRequest
from servefit.search.storage.job_folder import PAYLOAD_FILE, job_folder, reserve
from servefit.search.storage.secrets import keep_secrets
from servefit.state import write_atomically

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.profiler.machine.host import Host
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.search.request.job_request import JobRequest
    from servefit.search.storage.jobs import JobStore
    from servefit.search.storage.log import JobLog


def checked_request(request: JobRequest) -> JobRequest:
    """Return ``request`` as it is carried out. Raises SpecError for one that no host could carry out."""
    request = resolve_arrivals(request)
    check_known(request.environment)
    _check_calls(request)
    check_budget(request)
    return _with_labels(request)


def _with_labels(request: JobRequest) -> JobRequest:
    """Return ``request`` with the labels that its limits on quality need and the absolute path of their file, since the
    job may be written to another folder. Raises SpecError."""
    quality = request.precision.quality
    if quality is None:
        return request
    from servefit.backends.quality.judging import with_labels

    if not quality.labels:
        quality = replace(quality, source=str(Path(quality.source).absolute()))
    return replace(request, precision=with_labels(replace(request.precision, quality=quality)))


def check_free(name: str) -> None:
    """Raise SpecError where there is a job of that name on this host."""
    if job_folder(name).exists():
        raise SpecError("name", name, "is in use by an earlier job", remedy="choose another name")


def open_subject(
    request: JobRequest, source: Any, sample_payload: Any, *, trust_pickle: bool, trust_code: bool = False
) -> tuple[Model, Payload]:
    """Open the model that ``source`` is, and the payload. Raises SpecError, ModelError and StateError."""
    from servefit.backends.checking.verification import check_batch_dependence
    from servefit.backends.model import Model
    from servefit.backends.payload.reading import payload_for
    from servefit.backends.payload.types import with_sizes_of
    from servefit.profiler.procedures.prepare import check_requests

    model = (
        source
        if isinstance(source, Model)
        else Model.load(source, trust_pickle=trust_pickle, trust_code=trust_code, sample=sample_payload)
    )
    payload = payload_for(model, sample_payload, seed=request.seed)
    model = check_batch_dependence(with_sizes_of(model, payload), payload)
    _check_joining(request, model)
    if request.deployment == "endpoint" or request.over_http:
        check_requests(model, payload, request.rows_per_request)
    if not request.precision.allows_nothing:
        from servefit.backends.quality.judging import check_limits

        check_limits(request.precision, model, payload)
    return model, payload


def keep_new_job(header: JobHeader, payload: Payload, store: JobStore) -> tuple[JobLog, Path]:
    """Keep a job that begins, and its payload in a folder of its own, and return both. Raises SpecError where its name
    is in use, StateError and StorageError."""
    folder = reserve(header.request.name)
    try:
        write_atomically(folder / PAYLOAD_FILE, _npy(payload.rows))
        keep_secrets(header.request.environment, folder)
        return store.create(header), folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _check_calls(request: JobRequest) -> None:
    """Raise SpecError for calls that no test could make."""
    from servefit.profiler.drivers.inprocess.workers import check_calls

    check_calls(
        request.rows_per_request,
        max(request.batch_sizes, default=1),
        max(request.batch_delays_us, default=0),
    )


def check_objective(request: JobRequest, host: Host) -> None:
    """Raise SpecError for a goal that has no figure on ``host``, or none of tests that run at once; ObjectiveError if
    the objective fails to tell."""
    objective = objective_named(request.goal)
    objective.check(host)
    if objective.whole_machine and request.max_parallel_tests > 1:
        raise SpecError(
            "max_parallel_tests",
            request.max_parallel_tests,
            f"cannot be combined with the goal {objective.name}, whose figures are of the whole machine",
            remedy="leave it out",
        )


def _check_joining(request: JobRequest, model: Model) -> None:
    """Raise SpecError where requests are to be joined, or to wait for that, and the model does not allow it."""
    from servefit.profiler.procedures.prepare import check_joining, check_single_requests

    check_single_requests(model, request.rows_per_request)
    check_joining(model, max(request.batch_sizes, default=1), allowed=request.allow_batch_dependence)
    if any(request.batch_delays_us) and model.batch_dependent and not request.allow_batch_dependence:
        raise SpecError(
            "batch_delay",
            max(request.batch_delays_us),
            "delays batches, and there are none, since predictions of this model depend on what else is in the call",
            remedy="leave it out, or allow that with --allow-batch-dependence (allow_batch_dependence=True)",
        )


def new_header(
    request: JobRequest,
    model: Model,
    payload: Payload,
    host: Host,
    profiles: tuple[InstanceProfile, ...],
    hosts: tuple[JobHost, ...] = (),
    plan: PlanRequest | None = None,
) -> JobHeader:
    """Return what is known of a job that begins now, on ``host``, or on the ``hosts`` of a fleet, which is
    planned by ``plan``."""
    from servefit.version import __version__

    return JobHeader(
        request=request,
        model=model,
        payload=_payload_facts(payload),
        host=host,
        profiles=profiles,
        servefit=__version__,
        created_at=time.time(),
        hosts=hosts,
        plan=plan,
    )


def _payload_facts(payload: Payload) -> PayloadFacts:
    """Return what a job keeps of its payload beside the rows."""
    return PayloadFacts(
        source=payload.source,
        rows=len(payload.rows),
        digest=_digest(payload.rows),
        synthetic=payload.synthetic,
        truncated_from=payload.truncated_from,
        unused_columns=payload.unused_columns,
        sizes=payload.sizes,
        content_type=payload.content_type,
        accept=payload.accept,
        each_line=payload.each_line,
    )


def _npy(rows: np.ndarray) -> bytes:
    """Return ``rows`` as an NPY file."""
    content = io.BytesIO()
    np.save(content, rows, allow_pickle=False)
    return content.getvalue()


def _digest(rows: np.ndarray) -> str:
    """Return the SHA-256 of the values of ``rows``."""
    return sha256(rows.tobytes()).hexdigest()


def payload_rows(path: Path, digest: str) -> np.ndarray:
    """Read the payload that a job began with. Raises SpecError where it is not there any more."""
    try:
        rows: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SpecError("payload", str(path), "cannot be read: the job cannot be taken up again") from error
    if _digest(rows) != digest:
        raise SpecError("payload", str(path), "is not what the job began with")
    return rows


def check_budget(request: JobRequest) -> None:
    """Raise SpecError for a time in which nothing can be measured, on any machine."""
    min_s = min_test_s(request) + FINISHING_S
    if request.budget_s is not None and request.budget_s < min_s:
        takes = duration_text(min_s, digits=2)
        raise SpecError(
            "budget",
            f"{request.budget_s:g}s",
            f"is too little: on a fast and idle machine a single test takes {takes}, by what it consists of",
            remedy=f"give {ceil(min_s + PREPARATION_S)}s or more: a model has to be opened, compiled and checked",
        )
