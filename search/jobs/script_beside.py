"""The step of a job on a script that says what the script costs, where a model file lies beside it.

It is measured once, after the script was compiled. How is for ``profiler.procedures.script_comparison``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.backends.model.scripts import BESIDE
from servefit.profiler.procedures.script_comparison import LIMIT_S, script_cost
from servefit.search.optimizer.progress import before_search
from servefit.search.storage.steps import script_cost_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.backends.payload import Payload
    from servefit.backends.types import Artifact
    from servefit.search.optimizer.clock import Clock
    from servefit.search.optimizer.progress import Progress
    from servefit.search.storage.log import JobLog


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptBeside:
    """The measurement of the file beside the script of ``log``'s job. A pickle is opened with ``trust_pickle``, which
    is not kept: a job that was taken up again does not open one."""

    log: JobLog
    payload: Payload
    trust_pickle: bool

    def carry_out(self, artifacts: Sequence[Artifact], clock: Clock, progress: Progress) -> None:
        """Measure, and keep it as a step, unless the job has. Raises StateError and StorageError."""
        header = self.log.header
        model = header.model
        script = next((artifact for artifact in artifacts if artifact.backend == model.reference), None)
        if script is None or not any(BESIDE in warning for warning in model.warnings):
            return
        if script_cost_of(self.log.steps()) is not None:
            return
        progress.stage("timing the model file beside the script", before_search(clock))
        with self.log.step("script_cost", script.backend, None) as step:
            cost = script_cost(
                model,
                self.payload,
                script,
                host=header.host,
                memory_bytes=max(profile.memory_bytes for profile in header.profiles),
                trust_pickle=self.trust_pickle,
                limit_s=min(LIMIT_S, clock.share_s(0.0)),
            )
            self.log.finish(step, status="COMPLETED", result=cost)
