"""Endpoints behind TLS: certificates are checked, and problems with them reported."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from servefit.errors import MeasurementError
from servefit.profiler.drivers.http.address import Address
from servefit.profiler.drivers.http.clients import start_clients
from servefit.profiler.drivers.http.destination import Destination
from servefit.profiler.drivers.http.servers import UnseenServer
from servefit.profiler.record.traffic import ClosedLoop

if TYPE_CHECKING:
    import numpy as np
    from tests.profiler.conftest import HostSmall

pytestmark = pytest.mark.integration

FIRST_CPU, LAST_CPU = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
CERTIFICATE = str(Path(__file__).parents[3] / "fixtures/tls/localhost.pem")
SHORT = ClosedLoop.constant(users=2, duration_s=0.2)


def test_a_server_whose_certificate_is_trusted_is_measured(
    host_small: HostSmall, payload_rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", CERTIFICATE)
    with host_small({"certificate": CERTIFICATE}, cpus=(LAST_CPU,)) as hosted:
        address = replace(Address.parse(f"https://localhost:{hosted.port}/"), ip="127.0.0.1")
        destination = Destination.to(address, "json")
        with start_clients(destination, payload_rows, UnseenServer(), cpus=(FIRST_CPU,)) as driver:
            run = driver.run(SHORT)
    assert run.client is not None
    assert run.client.errors == {}
    assert len(run.samples.ended_ns()) > 20


def test_any_other_is_refused_with_the_reason(host_small: HostSmall, payload_rows: np.ndarray) -> None:
    with host_small({"certificate": CERTIFICATE}, cpus=(LAST_CPU,)) as hosted:
        address = replace(Address.parse(f"https://localhost:{hosted.port}/"), ip="127.0.0.1")
        destination = Destination.to(address, "json")
        with (
            start_clients(destination, payload_rows, UnseenServer(), cpus=(FIRST_CPU,)) as driver,
            pytest.raises(MeasurementError, match=r"answers no request: certificate refused: self.signed"),
        ):
            driver.run(SHORT)
