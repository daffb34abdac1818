"""Opens an envelope by the best method that works here, and says which ones do."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from servefit.backends.types import Availability
from servefit.checks import check_whole
from servefit.errors import MeasurementError, SpecError
from servefit.profiler.machine.envelope.affinity import open_affinity
from servefit.profiler.machine.envelope.scope import open_scope
from servefit.profiler.machine.envelope.types import Envelope
from servefit.profiler.machine.envelope.version_1 import open_version_1
from servefit.profiler.machine.envelope.version_2 import open_version_2
from servefit.quantities import size_text

if TYPE_CHECKING:
    from servefit.profiler.machine.envelope.types import EnvelopeMethod

_log = logging.getLogger(__name__)

_Opener = Callable[[tuple[int, ...], int | None], AbstractContextManager[Envelope]]

_BEST_FIRST: tuple[tuple[EnvelopeMethod, _Opener], ...] = (
    ("cgroup-v2", open_version_2),
    ("cgroup-v1", open_version_1),
    ("systemd-scope", open_scope),
    ("affinity", open_affinity),
)

_PROBE_MEMORY_BYTES = 64 * 2**20
"""Many times what a shell needs, and little enough for any host. Chosen, not measured."""

_PROBE_TIMEOUT_S = 10.0
"""A shell that enters a group takes milliseconds; as patient as ``processes.WAIT_S``."""

_PROBE = """
for file in "$@"; do echo $$ > "$file" || exit 1; done
while read -r line; do echo "$line"; done < /proc/$$/status
"""


@contextmanager
def open_envelope(
    cpus: Iterable[int], memory_bytes: int | None, *, method: EnvelopeMethod | None = None
) -> Iterator[Envelope]:
    """Open an envelope of ``cpus`` and ``memory_bytes`` (None: no limit). On exit it is gone, with everything in it.

    The methods are tried from the best on, or ``method`` alone. What a killed servefit left is removed on the way.
    Raises SpecError for no CPUs or no memory, and MeasurementError, with the reason and a remedy, where ``method`` does
    not work here or the CPUs cannot be had.
    """
    wanted = tuple(sorted(set(cpus)))
    if not wanted:
        raise SpecError("cpus", wanted, "is empty")
    if memory_bytes is not None:
        check_whole("memory", memory_bytes, least=1)
    with ExitStack() as stack:
        for name, opener in _BEST_FIRST:
            if method not in (None, name):
                continue
            try:
                envelope = stack.enter_context(opener(wanted, memory_bytes))
            except MeasurementError as error:
                if name in (method, _BEST_FIRST[-1][0]):
                    raise
                _log.debug("no envelope by %s: %s", name, error.message)
            else:
                break
        else:
            raise SpecError.unknown("envelope", str(method), [name for name, _ in _BEST_FIRST])
        limit = envelope.memory_limit_bytes
        memory = "without a limit" if limit is None else f"of {size_text(limit)}"
        _log.info("envelope by %s: CPUs %s, memory %s", envelope.method, ",".join(map(str, envelope.cpus)), memory)
        yield envelope


def sweep_envelopes() -> None:
    """End what killed servefits have left in envelopes of any kind, as opening one does."""
    for _, opener in _BEST_FIRST:
        with suppress(MeasurementError), opener((min(os.sched_getaffinity(0)),), None):
            pass


def available_methods() -> tuple[tuple[EnvelopeMethod, Availability], ...]:
    """Try every method, best first: an envelope is made, a process put into it, and removed."""
    return tuple((name, _try(name)) for name, _ in _BEST_FIRST)


def _try(method: EnvelopeMethod) -> Availability:
    cpu = max(os.sched_getaffinity(0))
    try:
        with open_envelope([cpu], _PROBE_MEMORY_BYTES, method=method) as envelope:
            if envelope.containment == "cgroup":
                _check_held(envelope, cpu)
    except MeasurementError as error:
        return Availability.no(error.message, remedy=error.remedy)
    return Availability.yes()


def _check_held(envelope: Envelope, cpu: int) -> None:
    """Raise MeasurementError unless a process that enters the envelope is held to ``cpu``."""
    command = envelope.command(["sh", "-c", _PROBE, "sh", *envelope.join_files])
    try:
        probe = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=True)
    except subprocess.CalledProcessError as error:
        raise MeasurementError(f"a process cannot enter the envelope: {error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise MeasurementError("a process that enters the envelope hangs") from error
    allowed = [line.split()[1] for line in probe.stdout.splitlines() if line.startswith("Cpus_allowed_list:")]
    if allowed != [str(cpu)]:
        raise MeasurementError(f"a process in the envelope of CPU {cpu} may use the CPUs {' '.join(allowed)}")
