"""Real ONNX files are profiled and recommended, with requests of natural sizes."""

from __future__ import annotations

import pytest
from tests.real_models.files import NAMES, real_file

import servefit
from servefit.backends.model import Model
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.procedures.prepare import Deployment, prepare
from servefit.profiler.record.traffic import ClosedLoop

pytestmark = [pytest.mark.integration, pytest.mark.thorough]


@pytest.mark.parametrize("name", sorted({*NAMES} - {"vad_ifless"}))
def test_it_is_profiled_and_recommended(name: str) -> None:
    real = real_file(name)
    requests = [{key: values[0] for key, values in request.items()} for request in real.requests]
    model = Model.load(real.path, inputs=real.constants)
    prepared = prepare(model, Deployment(profile="local-1c"), payload=requests)
    assert len(prepared.payload.rows) == len(requests)
    with prepared.workers() as workers:
        profiled = summarize(workers.run(ClosedLoop.constant(users=1, duration_s=0.3)))
    assert profiled.samples > 0
    assert profiled.failed == 0
    job = servefit.recommend(
        model,
        payload=requests,
        sla="p95=10s",
        profile="local-1c",
        backend="onnxruntime",
        batch=1,
        deploy="library",
        http=False,
        max_tests=1,
        allow_noise=True,
    )
    assert job.status == "COMPLETED"
    assert job.best is not None
    assert job.best.trial.configuration.backend == "onnxruntime"
