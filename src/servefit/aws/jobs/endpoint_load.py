"""The load of an endpoint that is there already, as a part of a job: what is kept of it, and how it is carried out.

Where the endpoint is to be found is settled before: by the server for one of its own, by the request for another.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from servefit.errors import ServefitError, StateError
from servefit.search.results.instances import S_PER_MIN
from servefit.state import write_atomically

if TYPE_CHECKING:
    from servefit.aws.jobs.files import JobFiles
    from servefit.aws.jobs.plan import LoadedEndpoint, Plan
    from servefit.search.endpoints.load_result import LoadTest
    from servefit.search.optimizer.progress import Progress


class EndpointLoad(msgspec.Struct, frozen=True, kw_only=True):
    """The progress and the findings of the load of the endpoint at ``url``, None for what is not known.

    Times are in seconds since 1970, ``max_invocations`` a minute, and ``model_latency_ms`` is the p95 of the response
    time. ``cpu_percent`` is summed over CPUs. ``reason`` says why it FAILED.
    """

    status: Literal["PENDING", "IN_PROGRESS", "COMPLETED", "FAILED"]
    url: str | None = None
    began_at: float | None = None
    ended_at: float | None = None
    max_invocations: int | None = None
    model_latency_ms: float | None = None
    cpu_percent: float | None = None
    reason: str | None = None

    @property
    def is_over(self) -> bool:
        return self.status in ("COMPLETED", "FAILED")


@dataclass(frozen=True, slots=True)
class KeptLoad:
    """The load of a job's endpoint, in the folder of the job, with the samples of it in another file."""

    folder: Path

    def write(self, load: EndpointLoad) -> None:
        write_atomically(self._file, msgspec.json.encode(load))

    def read(self) -> EndpointLoad | None:
        """Return it, None where nothing is known of it yet."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=EndpointLoad)
        except FileNotFoundError:
            return None

    def write_samples(self, load_test: LoadTest) -> None:
        """Keep all that was recorded, as ``servefit load --save`` does. Raises StateError."""
        from servefit.profiler.record.storage.measurements import save_measurement

        save_measurement(load_test.recorded(), self.samples, variable="SERVEFIT_HOME")

    @property
    def samples(self) -> Path:
        """The file of the samples."""
        return self.folder / "endpoint.servefit"

    @property
    def _file(self) -> Path:
        return self.folder / "endpoint.json"


def carry_out_load(files: JobFiles, plan: Plan, endpoint: LoadedEndpoint, progress: Progress) -> EndpointLoad:
    """Load the endpoint of a plan, unless that is over, and return what came of it. One that was broken off is
    repeated."""
    from servefit.search.endpoints.load import run_load

    kept, journal = KeptLoad(files.folder), files.journal
    load = kept.read() or EndpointLoad(status="PENDING", url=endpoint.url)
    if load.is_over:
        return load
    load = msgspec.structs.replace(load, status="IN_PROGRESS", began_at=time.time())
    kept.write(load)
    journal.write(f"endpoint {endpoint.name} is loaded, at {load.url}")
    try:
        load_test = run_load(load.url or "", plan.payload, plan.load_request(), progress=progress)
    except ServefitError as error:
        ended = msgspec.structs.replace(
            load, status="FAILED", ended_at=time.time(), reason=plan.with_urls(_in_words_of_the_api(str(error)))
        )
    else:
        ended = _ended(load, load_test)
        for line in load_test.warnings:
            journal.write(f"endpoint {endpoint.name}: {plan.with_urls(_in_words_of_the_api(line))}")
        try:
            kept.write_samples(load_test)
        except StateError as error:  # a full disk is no reason to lose the answer
            journal.write(f"endpoint {endpoint.name}: raw samples were not kept: {error}")
        if load_test.verdict is not None and load_test.verdict != "INVALID":
            because = "" if load_test.reason is None else f": {load_test.reason}"
            journal.write(f"endpoint {endpoint.name}: {load_test.request.sla}: {load_test.verdict}{because}")
    kept.write(ended)
    journal.write(f"endpoint {endpoint.name}: {ended.reason or _figures_text(ended)}")
    return ended


def _ended(load: EndpointLoad, load_test: LoadTest) -> EndpointLoad:
    """Return what a load came to."""
    ended_at = time.time()
    most, latency_ms = _figures(load_test)
    reason = None
    if load_test.verdict == "INVALID":
        remedy = f"; {load_test.problems[0].remedy}" if load_test.problems else ""
        reason = (
            f"the machine got in the way of the load: {load_test.reason}{remedy} (servefit api --allow-noise tells it)"
        )
    elif latency_ms is None:
        reason = (
            f"{load_test.summary.samples:,} answers are too few to tell the p95 of their latency: load it for longer"
        )
    return msgspec.structs.replace(
        load,
        status="COMPLETED" if reason is None else "FAILED",
        # Without the wait for others that measured.
        began_at=ended_at - load_test.elapsed_s,
        ended_at=ended_at,
        max_invocations=most,
        model_latency_ms=latency_ms,
        cpu_percent=load_test.summary.cpu_percent,
        reason=reason,
    )


def _figures(load_test: LoadTest) -> tuple[int, float | None]:
    """Return the most invocations a minute, and the p95 of their response time, None where too few were answered to
    tell. Where limits did not hold it is what was answered all the same: so much the endpoint does, that fast."""
    most, latency_ms = load_test.max_invocations, load_test.summary.latency_ms["p95"]
    if most is None:
        most = floor(S_PER_MIN * load_test.summary.throughput_per_s)
    if latency_ms is None and load_test.capacity is not None:  # at the rate too few came
        latency_ms = load_test.capacity.latency_ms["p95"]
    if latency_ms is None:  # of the plateau that may keep the limits too little was seen
        with_p95 = [step for step in load_test.steps if step.latency_ms["p95"] is not None]
        best = max(with_p95, key=lambda step: step.throughput_per_s, default=None)
        if best is not None:
            most, latency_ms = floor(S_PER_MIN * best.throughput_per_s), best.latency_ms["p95"]
    return most, latency_ms


def _figures_text(load: EndpointLoad) -> str:
    return f"max_invocations {load.max_invocations}, model_latency_ms.p95 {load.model_latency_ms:.3g}"


def _in_words_of_the_api(text: str) -> str:
    """Return a sentence about a load that names the member of a request in place of the option of a command."""
    return text.replace("--payload", "SamplePayloadUrl")
