"""Load clients and small servers for them, of which no process may be left after a test."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from servefit.profiler.drivers.http.clients import HttpDriver, start_clients
from servefit.profiler.drivers.http.destination import Destination
from servefit.profiler.drivers.http.servers import HostedServer
from servefit.profiler.record.types import Configuration

if TYPE_CHECKING:
    import numpy as np
    from tests.profiler.conftest import HostSmall

    from servefit.profiler.drivers.hosted_endpoint import Hosted
    from servefit.profiler.drivers.http.bodies import Form

FIRST_CPU, LAST_CPU = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))

Drive = Callable[..., AbstractContextManager[HttpDriver]]
Counted = Callable[[HttpDriver], dict[str, Any]]


@pytest.fixture(autouse=True)
def everything_ends(nothing_remains: None) -> None:
    """Asserted after every test of this folder."""


@pytest.fixture
def drive(host_small: HostSmall, payload_rows: np.ndarray) -> Drive:
    """Start a small server that does what ``facts`` say, and load clients for it."""

    @contextmanager
    def start(
        facts: dict[str, Any],
        *,
        clients: int = 1,
        form: Form = "json",
        rows: np.ndarray = payload_rows,
        timeout_s: float = 5.0,
        on_hosted: Callable[[Hosted], None] = lambda _: None,
        **options: Any,
    ) -> Iterator[HttpDriver]:
        with host_small(facts, cpus=(LAST_CPU,)) as hosted:
            on_hosted(hosted)
            server = HostedServer(hosted, Configuration(vcpus=1, backend="small"), name="only")
            with start_clients(
                Destination.of(hosted.url, form, model="only"),
                rows,
                server,
                cpus=(FIRST_CPU,) * clients,
                timeout_s=timeout_s,
                **options,
            ) as driver:
                yield driver

    return start


@pytest.fixture
def counted() -> Counted:
    """What the small server behind a driver has seen so far."""

    def ask(driver: HttpDriver) -> dict[str, Any]:
        with urllib.request.urlopen(driver.destination.address.at("/counted").url) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found

    return ask
