"""Measures the model file beside a script without the script: what does the script cost?

The file is opened as any model is, the requests of the payload are read as an endpoint of that file would read them,
and calls are timed with servefit's own exact backends, beside those of the script. What cannot be measured is a result
with a reason. What a script answers is read in ``script_answers``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.types import Settings
from servefit.errors import BackendError, MeasurementError, ModelError, SpecError
from servefit.profiler.procedures.microbenchmark.service_time import measure_p50_once
from servefit.profiler.procedures.script_answers import largest_difference
from servefit.profiler.record.script_cost import ScriptCost
from servefit.profiler.record.types import Configuration
from servefit.time_limit import time_left_s, time_limit

if TYPE_CHECKING:
    from servefit.backends.model import Model, Signature
    from servefit.backends.payload import Payload
    from servefit.backends.types import Artifact, Capabilities
    from servefit.profiler.machine.host import Host
    from servefit.serving.messages import Inference, Request

LIMIT_S = 60.0
"""The time for the whole comparison. Chosen, not measured."""

_TRYING = 1 / 3
"""Once this part of the time is over no further backend is tried: the rest is for a busy machine. Chosen."""

_MAX_REQUESTS = 32
"""Requests of the payload that are used, evenly spaced: each is decoded here, and answered twice. Chosen."""

_TIMED_S = 0.3
"""The time for timing the calls of each side, after as much of warming up. Chosen."""

_IO_S = 0.1
"""The time for timing the reading of requests and the writing of answers. Chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Requests:
    """The same requests as a script takes them, (n, width), as an endpoint of the file is ``asked`` them and reads
    them, and as ``rows`` for the file, ``rows_each`` of each."""

    opaque: np.ndarray
    asked: Sequence[Request]
    inferences: Sequence[Inference]
    rows: np.ndarray
    rows_each: int


class _NotMeasured(Exception):
    """The file is not measured, for the reason that this says."""


def script_cost(
    model: Model,
    payload: Payload,
    artifact: Artifact,
    *,
    host: Host,
    memory_bytes: int | None = None,
    trust_pickle: bool = False,
    limit_s: float = LIMIT_S,
) -> ScriptCost | None:
    """Measure the cost of the script ``model``, served by ``artifact``: see ``ScriptCost``. None if ``model`` is no
    script, if no readable model file lies beside it, or if the payload is empty.

    It takes about ``limit_s`` at most. Raises StateError.
    """
    from servefit.backends.libraries.script.predictor import UNPACKED
    from servefit.backends.model.scripts import models_beside

    if not model.signature.opaque or artifact.backend != model.reference or not len(payload.rows):
        return None
    unpacked = artifact.folder / UNPACKED
    files = [str(path.relative_to(unpacked)) for path in models_beside(unpacked)]
    if not files:
        return None
    if len(files) > 1:
        return ScriptCost(file=files[0], reason=f"{len(files)} models lie beside the script ({', '.join(files[:5])})")
    [file] = files
    end_s = time.monotonic() + limit_s
    try:
        with time_limit(lambda: end_s - time.monotonic()):
            return _measured(
                file,
                unpacked,
                payload,
                artifact,
                host=host,
                memory_bytes=memory_bytes,
                trust_pickle=trust_pickle,
                limit_s=limit_s,
            )
    except _NotMeasured as error:
        return ScriptCost(file=file, reason=str(error))
    except (ModelError, BackendError, MeasurementError, SpecError) as error:
        return ScriptCost(file=file, reason=str(error).replace(f"{unpacked}/", ""))


def _measured(
    file: str,
    unpacked: Path,
    payload: Payload,
    script: Artifact,
    *,
    host: Host,
    memory_bytes: int | None,
    trust_pickle: bool,
    limit_s: float,
) -> ScriptCost:
    """Return the measured cost. Raises _NotMeasured, ModelError, BackendError, MeasurementError and SpecError."""
    from servefit.backends.checking.verification import check_batch_dependence
    from servefit.backends.compilation import compile_model
    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.backends.payload.types import used_sizes, with_sizes_of

    opened = replace(Model.load(unpacked / file, trust_pickle=trust_pickle), source=file)
    requests = _requests(payload, opened, file)
    sample = Payload(rows=requests.rows, source=payload.source, sizes=used_sizes(requests.rows, opened.signature))
    opened = check_batch_dependence(with_sizes_of(opened, sample), sample)

    def timed_s(artifact: Artifact, rows: np.ndarray, rows_each: int) -> float:
        configuration = Configuration(vcpus=1, backend=artifact.backend, settings=Settings(threads=1))
        timed = measure_p50_once(
            configuration,
            artifact,
            rows,
            host=host,
            memory_bytes=memory_bytes,
            rows_per_request=rows_each,
            duration_s=_TIMED_S,
            warm_up_s=_TIMED_S,
        )
        return timed.value / 1e9

    script_s = timed_s(script, requests.opaque, 1)
    timed: list[tuple[float, Artifact]] = []
    problems = []
    for backend in _able(opened):
        if timed and time_left_s() - backend.compile_estimate_s(opened) < (1 - _TRYING) * limit_s:
            break
        try:
            artifact = compile_model(opened, backend.name, payload=sample).artifact
            timed.append((timed_s(artifact, requests.rows, requests.rows_each), artifact))
        except (BackendError, MeasurementError) as error:
            problems.append(str(error))
    if not timed:
        raise _NotMeasured("; ".join(problems) or "no backend that is here serves it")
    file_s, fastest = min(timed, key=itemgetter(0))
    predictions = _predictions(fastest, requests)
    difference, not_compared = _difference(script, predictions, requests)
    return ScriptCost(
        file=file,
        script_s=script_s,
        file_s=file_s,
        io_s=_io_s(requests, predictions, opened.signature),
        backend=fastest.backend,
        tried_s=tuple((artifact.backend, seconds) for seconds, artifact in timed),
        requests=len(requests.opaque),
        rows=requests.rows_each,
        largest_difference=difference,
        not_compared=not_compared,
    )


def _able(opened: Model) -> list[Capabilities]:
    """Return servefit's own exact backends that serve the file here: first the reference, the model's own library, then
    by compile time."""
    from servefit.backends.finding.capabilities import ask_backends, of_precision
    from servefit.backends.finding.registry import BUILT_IN, candidate_names

    names = of_precision(name for name in candidate_names(opened.library) if name in BUILT_IN)
    able = [
        backend
        for backend in ask_backends(names, opened).values()
        if backend.probe().available and backend.supports(opened).available
    ]
    return sorted(able, key=lambda backend: (backend.name != opened.reference, backend.compile_estimate_s(opened)))


def _requests(payload: Payload, opened: Model, file: str) -> _Requests:
    """Return some of the requests of ``payload`` as rows for the file: those with the most frequent number of rows.
    Raises _NotMeasured."""
    from servefit.backends.model.opaque import request_in
    from servefit.backends.model.packing import join
    from servefit.serving.config import Limits
    from servefit.serving.messages import Refused, Request
    from servefit.serving.protocols import sagemaker

    count = len(payload.rows)
    chosen = np.linspace(0, count - 1, min(count, _MAX_REQUESTS)).astype(np.int64)
    decoded = []
    for nth in chosen:
        asked = request_in(payload.rows[nth])
        headers = {b"content-type": asked.content_type.encode()}
        request = Request(b"POST", b"/invocations", headers, asked.body)
        try:
            decoded.append((nth, request, sagemaker.decode(request, opened.signature, Limits())))
        except Refused as refused:
            problem = f"request {nth + 1} of the payload holds no rows for {file}: {refused.reason}"
            raise _NotMeasured(problem) from refused
    [(rows_each, _)] = Counter(len(inference.rows) for _, _, inference in decoded).most_common(1)
    if not rows_each:
        raise _NotMeasured(f"the requests of the payload hold no rows for {file}")
    alike = [entry for entry in decoded if len(entry[2].rows) == rows_each]
    inferences = [inference for _, _, inference in alike]
    return _Requests(
        opaque=np.ascontiguousarray(payload.rows[[nth for nth, _, _ in alike]]),
        asked=[request for _, request, _ in alike],
        inferences=inferences,
        rows=np.ascontiguousarray(join([inference.rows for inference in inferences])),
        rows_each=rows_each,
    )


def _predictions(file: Artifact, requests: _Requests) -> list[np.ndarray]:
    """Return what the file predicts of the rows of each request. Raises BackendError and MeasurementError."""
    from servefit.backends.checking.verification import in_child

    [(predictions, _)] = in_child(file.backend, "predict_candidate", file, [requests.rows])
    return np.split(predictions, len(requests.inferences))


def _io_s(requests: _Requests, predictions: Sequence[np.ndarray], signature: Signature) -> float:
    """Return what an endpoint of the file takes to read one of the requests and to write its answer: the median."""
    from servefit.serving.config import Limits
    from servefit.serving.protocols import sagemaker

    limits = Limits()
    taken: list[float] = []
    end_s = time.perf_counter() + _IO_S
    while not taken or time.perf_counter() < end_s:
        for request, predicted in zip(requests.asked, predictions, strict=True):
            began = time.perf_counter()
            sagemaker.decode(request, signature, limits).encode(predicted)
            taken.append(time.perf_counter() - began)
    return median(taken)


def _difference(
    script: Artifact, predictions: Sequence[np.ndarray], requests: _Requests
) -> tuple[float | None, str | None]:
    """Return the largest difference of the predictions of the two, or why it is not known."""
    from servefit.backends.checking.verification import in_child
    from servefit.backends.model.opaque import OpaqueAnswer, answer_in

    try:
        [(answers, _)] = in_child(script.backend, "predict_candidate", script, [requests.opaque])
    except (BackendError, MeasurementError) as error:
        return None, str(error)
    pairs = []
    for answer, inference, predicted in zip(answers, requests.inferences, predictions, strict=True):
        reply = inference.encode(predicted)
        pairs.append((answer_in(answer), OpaqueAnswer(body=reply.body, content_type=reply.content_type.decode())))
    return largest_difference(pairs)
