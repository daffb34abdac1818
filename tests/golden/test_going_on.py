"""Jobs that an earlier servefit began are resumed by this one, on the machine that began them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.golden.kept import OLDEST_DAILY, kept, move_to_host, of_each

if TYPE_CHECKING:
    from tests.golden.conftest import Servefit

pytestmark = pytest.mark.integration

SHORT = ("--max-tests", "1", "--backend", "xgboost", "--batch", "1", "--budget", "2m")
ANSWERED = (0, 3, 6)
"""The status of a command whose job came to its end. Whether this machine keeps the SLA is not tested here."""


@pytest.fixture(scope="module", autouse=True)
def _here(servefit: Servefit, copy: Path) -> None:
    """Jobs are only resumed on the machine that began them, so that is this one."""
    described = servefit("host", "--facts", "--format", "json")
    assert described.status == 0, described.stderr
    move_to_host(copy, described.document)


@pytest.mark.thorough
@of_each("show/*.json", names=("interrupted", "killed"))
def test_a_job_is_resumed_to_its_end_and_measures_nothing_twice(servefit: Servefit, copy: Path, name: str) -> None:
    before = kept(copy, "steps", name)["steps"]
    resumed = servefit("resume", name, "--format", "json")
    assert resumed.status in ANSWERED, resumed.stderr
    assert resumed.document["status"] == "COMPLETED"
    after = {step["step"]: step for step in servefit("steps", name, "--format", "json").document["steps"]}
    done = [step for step in before if step["status"] == "COMPLETED"]
    assert done
    for step in done:
        assert {field: after[step["step"]][field] for field in ("kind", "began_at", "ended_at", "configuration")} == {
            field: step[field] for field in ("kind", "began_at", "ended_at", "configuration")
        }
    assert len(after) > len(done)
    assert not [step for step in after.values() if step["status"] == "RUNNING"]
    assert servefit("resume", name).status == 2


@pytest.mark.thorough
@OLDEST_DAILY
def test_a_new_job_is_asked_for_by_a_file_and_kept_beside_them(servefit: Servefit, copy: Path) -> None:
    config = copy / "sources" / "job.yaml"
    ended = servefit("recommend", "--config", config, "--name", "new", *SHORT, "--format", "json")
    assert ended.status in ANSWERED, ended.stderr
    assert ended.document["sla"] == {"thresholds": [{"percentile": "p95", "limit_ms": 100.0}], "rate_per_s": 100.0}
    listed = [job["job"] for job in servefit("jobs", "--format", "json").document["jobs"]]
    assert listed == ["new", *(job["job"] for job in kept(copy, "jobs")["jobs"])]


def test_a_job_that_is_over_is_not_resumed(servefit: Servefit) -> None:
    for name in ("sla-met", "all-fail"):
        refused = servefit("resume", name)
        assert (refused.status, "is over" in refused.stderr) == (2, True)
