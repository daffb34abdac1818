"""The order of recommendations where the objective of the job cannot be used: nothing says which is the best.

As in a ranking, what meets the SLA comes first. Then comes what the job measured over HTTP, which was its answer, and
then what was measured first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from servefit.search.results.price import Price

if TYPE_CHECKING:
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.record.types import Configuration
    from servefit.search.request.space import Space
    from servefit.search.results.pooled_trials import PooledTrials

VERDICT_ORDER = {"PASS": 0, "UNDECIDED": 1, "INVALID": 2, "FAIL": 3}
"""Best first."""


def unranked(
    space: Space, measured: Sequence[PooledTrials], answers: Collection[Configuration]
) -> list[tuple[InstanceProfile, PooledTrials]]:
    """Return what to name for every profile that has any of ``measured``, which are in the order of the tests.
    ``answers`` are the configurations that were measured over HTTP."""
    named = []
    for profile, fitting in space.profiles:
        price = Price.of(profile.price_per_hour, profile.vcpus)
        keyed = [
            (
                VERDICT_ORDER[pooled.trial.verdict],
                pooled.trial.violation if pooled.trial.verdict == "FAIL" else 0.0,
                pooled.configuration not in answers,
                nth,
                price.unpriced,
                price.per_hour,
            )
            for nth, pooled in enumerate(measured)
            if pooled.configuration in fitting and pooled.trial.measurement.peak_memory_bytes <= profile.memory_bytes
        ]
        if keyed:
            named.append((min(keyed), profile))
    named.sort(key=lambda pair: pair[0])
    return [(profile, measured[key[3]]) for key, profile in named]
