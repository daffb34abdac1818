"""A job on a fleet whose one host is this one, and the agent of it as a process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.models.forest_models import benchmark_model
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.profiles import find_profile
from servefit.search.fleet.database import fleet_address, fleet_leases
from servefit.search.fleet.dispatcher import Dispatcher
from servefit.search.fleet.orders import Order, Ordered
from servefit.search.fleet.subject import publish
from servefit.search.jobs.beginning import keep_new_job, new_header
from servefit.search.jobs.measurer import LocalMeasurer
from servefit.search.request.job_request import JobRequest
from servefit.search.storage.blobs import Blobs
from servefit.search.storage.header import JobHeader, JobHost
from servefit.search.storage.job_folder import PAYLOAD_FILE
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from servefit.backends.payload import Payload
    from servefit.search.fleet.orders import Answer

HOST = "benchmark"


@contextmanager
def agent(storage: str) -> Iterator[int]:
    """Run ``servefit agent`` with a state folder of its own, and give its process number."""
    with tempfile.TemporaryDirectory() as home:
        process = subprocess.Popen(
            [sys.executable, "-m", "servefit", "agent", "--name", HOST],
            env={**os.environ, "SERVEFIT_STORAGE": storage, "SERVEFIT_HOME": home},
            stdout=subprocess.PIPE,
        )
        with process:
            try:
                assert process.stdout is not None
                if not process.stdout.readline():
                    raise SystemExit("the agent does not start")
                yield process.pid
            finally:
                process.terminate()


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetJob:
    """A job that this process owns, and what measures for it: agents, by way of ``dispatcher``, or this process."""

    header: JobHeader
    dispatcher: Dispatcher
    here: LocalMeasurer

    def ask(self, asked: Ordered, *, limit_s: float = 60.0) -> Answer:
        """Have the agent carry out what is asked, and return the answer."""
        order = Order(
            token=f"{time.monotonic_ns()}",
            host=HOST,
            job=self.header.request.name,
            asked=asked,
            limit_s=limit_s,
            elapsed_s=0.0,
        )
        return self.dispatcher.ask(order)


@contextmanager
def fleet_job(storage: str, model: str, backend: str) -> Iterator[FleetJob]:
    """Begin a job on ``model`` with ``backend``, as a library, on the host of the agent."""
    subject, host = benchmark_model(model), describe_host()
    request = JobRequest(
        name=f"benchmark-{time.monotonic_ns()}", backends=(backend,), deploy="library", over_http=False
    )
    payload = _payload(subject.rows)
    there = JobHost(name=HOST, host=host, profiles=(find_profile("local-1c", host),), host_class=HOST)
    header = new_header(request, subject.model, payload, host, there.profiles, (there,))
    with JobStore.open(storage) as store:
        log, folder = keep_new_job(header, payload, store)
        publish(Blobs.of(store), header, folder / PAYLOAD_FILE)
        address = fleet_address(storage)
        dispatcher = Dispatcher(store.database, address, fleet_leases(store.database, address))
        here = LocalMeasurer(header=header, payload=payload, folder=Path(folder), log=log)
        with log.owned(), dispatcher.running():
            yield FleetJob(header=header, dispatcher=dispatcher, here=here)


def _payload(rows: object) -> Payload:
    from servefit.backends.payload import Payload

    return Payload(rows=rows, source="benchmark", synthetic=True, truncated_from=None, unused_columns=())  # type: ignore[arg-type]
