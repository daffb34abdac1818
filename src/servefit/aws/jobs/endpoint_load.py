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

    def write_samples(self, found: LoadTest) -> None:
        """Keep all that was recorded, as ``servefit load --save`` does. Raises StateError."""
        from servefit.profiler.record.storage.measurements import save_measurement

        save_measurement(found.recorded(), self.samples, variable="SERVEFIT_HOME")

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
        found = run_load(load.url or "", plan.payload, plan.load_request(), progress=progress)
    except ServefitError as error:
        ended = msgspec.structs.replace(
            load, status="FAILED", ended_at=time.time(), reason=plan.with_urls(_in_words_of_the_api(str(error)))
        )
    else:
        ended = _ended(load, found)
        for line in found.warnings:
            journal.write(f"endpoint {endpoint.name}: {plan.with_urls(_in_words_of_the_api(line))}")
        try:
            kept.write_samples(found)
        except StateError as error:  # a full disk is no reason to lose the answer
            journal.write(f"endpoint {endpoint.name}: raw samples were not kept: {error}")
        if found.verdict is not None and found.verdict != "INVALID":
            because = "" if found.reason is None else f": {found.reason}"
            journal.write(f"endpoint {endpoint.name}: {found.request.sla}: {found.verdict}{because}")
    kept.write(ended)
    journal.write(f"endpoint {endpoint.name}: {ended.reason or _figures_text(ended)}")
    return ended


def _ended(load: EndpointLoad, found: LoadTest) -> EndpointLoad:
    """Return what a load came to."""
    ended_at = time.time()
    most, latency_ms = _figures(found)
    reason = None
    if found.verdict == "INVALID":
        remedy = f"; {found.problems[0].remedy}" if found.problems else ""
        reason = f"the machine got in the way of the load: {found.reason}{remedy} (servefit api --allow-noise tells it)"
    elif latency_ms is None:
        reason = f"{found.summary.samples:,} answers are too few to tell the p95 of their latency: load it for longer"
    return msgspec.structs.replace(
        load,
        status="COMPLETED" if reason is None else "FAILED",
        # Without the wait for others that measured.
        began_at=ended_at - found.elapsed_s,
        ended_at=ended_at,
        max_invocations=most,
        model_latency_ms=latency_ms,
        cpu_percent=found.summary.cpu_percent,
        reason=reason,
    )


def _figures(found: LoadTest) -> tuple[int, float | None]:
    """Return the most invocations a minute, and the p95 of their response time, None where too few were answered to
    tell. Where limits did not hold it is what was answered all the same: so much the endpoint does, that fast."""
    most, latency_ms = found.max_invocations, found.summary.latency_ms["p95"]
    if most is None:
        most = floor(S_PER_MIN * found.summary.throughput_per_s)
    if latency_ms is None and found.capacity is not None:  # at the rate too few came
        latency_ms = found.capacity.latency_ms["p95"]
    if latency_ms is None:  # of the plateau that may keep the limits too little was seen
        told = [step for step in found.steps if step.latency_ms["p95"] is not None]
        best = max(told, key=lambda step: step.throughput_per_s, default=None)
        if best is not None:
            most, latency_ms = floor(S_PER_MIN * best.throughput_per_s), best.latency_ms["p95"]
    return most, latency_ms


def _figures_text(load: EndpointLoad) -> str:
    return f"max_invocations {load.max_invocations}, model_latency_ms.p95 {load.model_latency_ms:.3g}"


def _in_words_of_the_api(text: str) -> str:
    """Return a sentence about a load that names the member of a request in place of the option of a command."""
    return text.replace("--payload", "SamplePayloadUrl")
