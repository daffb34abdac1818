"""A measurement by real workers is saved and read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.profiler.drivers.start_driver import assemble
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.record.storage.measurements import load_measurement, save_measurement
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from servefit.profiler.drivers.inprocess.workers import Workers
    from servefit.profiler.machine.host import Host


def test_runs_of_real_workers_keep_their_figures(
    tmp_path: Path, start_synthetic: Callable[..., AbstractContextManager[Workers]], make_host: Callable[..., Host]
) -> None:
    traffics: tuple[Traffic, ...] = (
        OpenLoop(rate_per_s=2000, duration_s=0.5),
        ClosedLoop.constant(users=1, duration_s=0.3),
    )
    with start_synthetic({}) as workers:
        measurement = assemble(workers, [workers.run(traffic) for traffic in traffics], make_host(cpus=1))
    save_measurement(measurement, tmp_path / "real")
    read = load_measurement(tmp_path / "real")
    assert read == measurement
    assert [run.traffic for run in read.runs] == list(traffics)
    assert len(read.runs[0].samples.scheduled_ns()) > 500
    assert list(map(summarize, read.runs)) == list(map(summarize, measurement.runs))
