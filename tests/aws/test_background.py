"""The server makes way for what it has measured: what answers requests keeps to the CPUs that envelopes leave, jobs and
endpoints do not."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.aws.conftest import ROLE
from tests.aws.test_jobs import asked, waited_for
from tests.aws.test_restart import make_endpoint, mark_of

from servefit.aws.endpoints.hosts import KIND as ENDPOINT
from servefit.aws.jobs.queue import KIND as JOB
from servefit.processes import living
from servefit.profiler.machine.background import background_cpus
from servefit.profiler.machine.host import describe_host

if TYPE_CHECKING:
    from pathlib import Path

    from tests.aws.conftest import Server

pytestmark = [pytest.mark.integration, pytest.mark.thorough]


def process_of(server: Server, kind: str, name: str) -> psutil.Process:
    """The process of an endpoint or a job that has begun."""
    pid = living(mark_of(server.home, kind, name))
    assert pid is not None
    return psutil.Process(pid)


def test_what_answers_keeps_to_its_cpus_and_an_endpoint_does_not(server: Server, tmp_path: Path) -> None:
    host = describe_host()
    here = psutil.Process(server.process.pid)
    assert tuple(here.cpu_affinity() or ()) == (background_cpus(host.cpus) or tuple(os.sched_getaffinity(0)))
    make_endpoint(server, tmp_path)
    assert set(process_of(server, ENDPOINT, "served").cpu_affinity() or ()) == os.sched_getaffinity(0)


def test_a_job_has_all_cpus_of_the_host(server: Server, tmp_path: Path) -> None:
    host = describe_host()
    model, payload = server.put_model(tmp_path)
    sagemaker = server.client("sagemaker")
    sagemaker.create_model(
        ModelName="whole", PrimaryContainer={"Image": "any", "ModelDataUrl": model}, ExecutionRoleArn=ROLE
    )
    whole_host = {"EndpointConfigurations": [{"InstanceType": f"ml.local-{len(host.cpus)}c"}]}
    request = asked("whole", {"model": "whole", "payload": payload}, config=whole_host)
    sagemaker.create_inference_recommendations_job(**request)
    while sagemaker.describe_inference_recommendations_job(JobName="whole")["Status"] == "PENDING":
        time.sleep(0.1)
    assert set(process_of(server, JOB, "whole").cpu_affinity() or ()) == os.sched_getaffinity(0)
    sagemaker.stop_inference_recommendations_job(JobName="whole")
    told = waited_for(sagemaker, "whole")
    assert "bigger" not in told.get("FailureReason", "")
