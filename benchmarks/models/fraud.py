"""The demo's fraud model, compiled with every backend that takes it, and what the demo asks, for the benchmarks of the
search. Run as a script it makes and compiles the model, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from benchmarks.synthetic import machine
from servefit.backends.compilation import compile_model
from servefit.backends.model import Model
from servefit.backends.payload.reading import payload_for
from servefit.cli.demo import LIMIT_MS, RATE_PER_S
from servefit.demo import fraud_model, fraud_payload
from servefit.profiler.drivers.start_driver import workers_for
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.machine.host import Host, describe_host
from servefit.profiler.machine.profiles import find_profile
from servefit.search.jobs.compile_candidates import choices
from servefit.search.request.job_request import Goal, JobRequest
from servefit.search.request.sla import Sla
from servefit.search.request.space import BatchingSpace, Space

if TYPE_CHECKING:
    from typing import Any

    import numpy as np

    from servefit.backends.types import Artifact
    from servefit.profiler.drivers.inprocess.workers import Workers
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.record.types import Configuration

BACKENDS = ("forest", "xgboost", "onnxruntime", "treelite", "tl2cgen", "onedal")
PROFILES = ("local-1c", "local-2c", "ml.m5.large")


def demo_request(goal: Goal = "cost", *, seed: int = 0) -> JobRequest:
    """Return the request of ``servefit demo``, of the model as a library: 500 requests a second, p95 within 100 ms."""
    limit = LatencyThreshold(percentile="p95", limit_ms=LIMIT_MS)
    return JobRequest(
        name="demo", deploy="library", sla=Sla(thresholds=(limit,), rate_per_s=RATE_PER_S), goal=goal, seed=seed
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fraud:
    """The model with its payload, ready to be measured on ``host``. ``artifacts`` are by backend."""

    host: Host
    model: Model
    rows: np.ndarray
    artifacts: Mapping[str, Artifact]
    profiles: tuple[InstanceProfile, ...]

    @classmethod
    def prepare(cls, backends: Sequence[str] = BACKENDS) -> Self:
        """Make the model and compile it, or find both in the state folder. Raises as ``compile_model`` does."""
        host = describe_host()
        model = Model.load(fraud_model())
        payload = payload_for(model, fraud_payload(), seed=0)
        return cls(
            host=host,
            model=model,
            rows=payload.rows,
            artifacts={name: compile_model(model, name, payload=payload).artifact for name in backends},
            profiles=tuple(find_profile(name, host) for name in PROFILES),
        )

    def space(self) -> Space:
        """Return everything that the demo's search may try on ``profiles``."""
        offered = choices(self.model, tuple(self.artifacts.values()), self.profiles)
        return Space.of(
            self.profiles,
            offered,
            (),
            self.host.gpus,
            BatchingSpace.of(demo_request(), batch_dependent=self.model.batch_dependent),
        )

    def workers(self, configuration: Configuration) -> AbstractContextManager[Workers]:
        """Start fresh processes of ``configuration``. Raises as ``workers_for`` does."""
        memory_bytes = max(profile.memory_bytes for profile in self.profiles if profile.vcpus >= configuration.vcpus)
        artifact = self.artifacts[configuration.backend]
        return workers_for(configuration, artifact, self.rows, host=self.host, memory_bytes=memory_bytes)

    def machine(self) -> dict[str, Any]:
        """Return a description of the machine, without its name."""
        return {**machine(self.host), "fingerprint": self.host.fingerprint}


if __name__ == "__main__":
    Fraud.prepare()
