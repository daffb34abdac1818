"""Jobs in databases of both kinds, and processes that work on them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from optuna.storages import RDBStorage

from servefit.backends.model import Model
from servefit.backends.model.types import Format, Signature, Task
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.request.job_request import JobRequest
from servefit.search.storage.header import JobHeader, PayloadFacts

if TYPE_CHECKING:
    from servefit.search.storage.jobs import JobStore
    from servefit.search.storage.log import JobLog

MakeHeader = Callable[[str], JobHeader]
Holding = Callable[[str, str], AbstractContextManager[subprocess.Popen[str]]]

HOLD = """
import sys
from servefit.search.storage.jobs import JobStore

def hang(trial):
    print("owned", flush=True)
    sys.stdin.read()
    return 1.0, 2.0

with JobStore.open(sys.argv[1]) as store:
    job = store.job(sys.argv[2])
    with job.owned():
        job.begin("compilation", "treelite", None)
        job.study().optimize(hang, n_trials=1)
"""


on_both = pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
"""For tests of what the two databases do differently, or that show all that goes through one: of the others only the
half on SQLite is made daily."""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.thorough)])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database of either kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def plain_storage(url: str) -> Iterator[RDBStorage]:
    """The same database as anybody else with Optuna opens it."""
    storage = RDBStorage(url)
    yield storage
    storage.remove_session()
    storage.engine.dispose()


@pytest.fixture
def job(store: JobStore, header: MakeHeader) -> JobLog:
    return store.create(header("fraud"))


@pytest.fixture(scope="session")
def header() -> MakeHeader:
    host, numbers = describe_host(), count()
    model = Model(
        source="model.onnx",
        file=Path("/models/model.onnx"),
        format=Format.ONNX,
        digest="0" * 64,
        size_bytes=1024,
        signature=Signature(task=Task.BINARY, features=30, outputs=1),
    )

    def make(name: str) -> JobHeader:
        return JobHeader(
            request=JobRequest(name=name, profiles=("local-1c",)),
            model=model,
            payload=PayloadFacts(source="rows.csv", rows=10, digest="1" * 64, synthetic=False, truncated_from=None),
            host=host,
            profiles=(InstanceProfile(name="local-1c", vcpus=1, memory_bytes=2**30),),
            servefit="0.1",
            created_at=1e9 + next(numbers),
        )

    return make


@pytest.fixture(scope="session")
def configuration() -> Configuration:
    return Configuration(vcpus=2, backend="treelite", environment=(("OMP_WAIT_POLICY", "passive"),))


@pytest.fixture
def holding() -> Holding:
    """A process that has begun a step and a trial of a job, and owns the job for as long as the block lasts."""

    @contextmanager
    def hold(url: str, name: str) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-c", HOLD, url, name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "owned\n"
                yield process
            finally:
                process.kill()

    return hold
