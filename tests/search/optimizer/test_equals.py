"""What is tested in place of a promising configuration, since the ranking would prefer it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servefit.backends.types import Settings
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.equals import preferred_equal
from servefit.search.optimizer.predictions import Surrogate
from servefit.search.optimizer.service_time_survey import Survey, timed_as
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.request.space import Space

MS = 1e6
CALL_MS = {"quick": 1.0, "close": 1.05, "middling": 1.3, "slow": 5.0}
QUICK, CLOSE, MIDDLING, SLOW = (Configuration(vcpus=1, backend=backend) for backend in CALL_MS)
JOINING = replace(MIDDLING, max_batch=16)
GRID = (QUICK, CLOSE, MIDDLING, SLOW, JOINING)


@pytest.fixture
def surrogate() -> Surrogate:
    """At 5 requests a second, so that hardly any waits for another."""
    small = InstanceProfile(name="small", vcpus=1, memory_bytes=2**30, price_per_hour=0.1)
    survey = Survey.of(GRID)
    for backend, call_ms in CALL_MS.items():
        survey.known[timed_as(Configuration(vcpus=1, backend=backend), 1)] = ServiceTimes(
            batches=tuple(BatchTimes(requests=size, strata_ns=(call_ms * MS * (0.8 + 0.2 * size),)) for size in (1, 16))
        )
    space = Space(profiles=((small, frozenset(GRID)),), grid=GRID)
    return Surrogate(space, survey, JobRequest(name="job", sla=Sla(rate_per_s=5.0)))


@pytest.mark.parametrize(
    ("promising", "tested"),
    [(MIDDLING, QUICK), (CLOSE, CLOSE), (QUICK, QUICK), (JOINING, QUICK)],
    ids=["answers more", "hardly more", "the most", "joins in vain"],
)
def test_of_what_is_expected_to_do_as_well_the_simplest_that_answers_most_is_tested_first(
    surrogate: Surrogate, promising: Configuration, tested: Configuration
) -> None:
    assert preferred_equal(promising, GRID, surrogate) == tested


def test_what_is_not_left_is_not_tested(surrogate: Surrogate) -> None:
    assert preferred_equal(MIDDLING, (MIDDLING, SLOW), surrogate) == MIDDLING
    assert preferred_equal(JOINING, (JOINING, MIDDLING), surrogate) == MIDDLING


def test_what_is_expected_to_break_a_limit_is_not_tested_first() -> None:
    threaded = Configuration(vcpus=2, backend="a", settings=Settings(threads=2))
    plain = replace(threaded, settings=Settings())
    survey = Survey.of((plain, threaded))
    for configuration, call_ms in ((plain, 1.3), (threaded, 0.9)):
        calls = BatchTimes(requests=1, strata_ns=(call_ms * MS,))
        survey.known[timed_as(configuration, 1)] = ServiceTimes(batches=(calls,))
    large = InstanceProfile(name="large", vcpus=2, memory_bytes=2**30)
    space = Space(profiles=((large, frozenset([plain, threaded])),), grid=(plain, threaded))

    def tested(limit: str) -> Configuration:
        asked = JobRequest(name="job", sla=Sla(thresholds=parse_sla(f"p95={limit}"), rate_per_s=5.0))
        return preferred_equal(threaded, (plain, threaded), Surrogate(space, survey, asked))

    assert tested("10ms") == plain
    assert tested("1.1ms") == threaded
