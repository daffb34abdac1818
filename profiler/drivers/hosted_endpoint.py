"""An endpoint inside an envelope: started, ready, watched for its death, and gone afterwards.

What an endpoint does is said in ``servefit.serving``, which knows nothing of envelopes; who sends it requests is the
business of ``http`` and of whoever else has its address.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from select import poll
from typing import TYPE_CHECKING

from servefit.backends.variables.secret import is_hidden, revealed
from servefit.errors import MeasurementError, WorkerCrashed
from servefit.isolation import end_process_group
from servefit.profiler.drivers.driving.entering import entering_command
from servefit.profiler.drivers.driving.output import CapturedOutput
from servefit.profiler.drivers.driving.processes import DEATH_WAIT_S, death_within
from servefit.profiler.machine.envelope.opening import open_envelope
from servefit.serving.private_folders import sweep_private_folders
from servefit.time_limit import allowed_s, timed_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import NoReturn

    from servefit.backends.model.types import Signature
    from servefit.backends.types import Artifact
    from servefit.profiler.machine.envelope.types import Envelope, EnvelopeMethod
    from servefit.profiler.machine.slot.holding import Slot
    from servefit.profiler.record.types import Configuration
    from servefit.serving.config import EndpointConfig

_log = logging.getLogger(__name__)

MODULE = "servefit.serving"
"""The module to run, with the description of the endpoint and ``--ready-fd N`` as arguments. Tests name another."""

_POLL_MS = 50
"""So much later at most it is noticed that an endpoint died before it was ready."""

_MAX_LINE_BYTES = 1 << 16
"""As much as a pipe holds; the line has some twenty bytes."""


def endpoint_config(
    configuration: Configuration, artifact: Artifact, signature: Signature, *, name: str
) -> EndpointConfig:
    """Describe the endpoint that serves ``artifact`` in ``configuration`` as ``name``, with the usual limits."""
    from servefit.serving.config import ArtifactFacts, EndpointConfig

    gpu = () if configuration.gpu is None else (("CUDA_VISIBLE_DEVICES", str(configuration.gpu)),)
    return EndpointConfig(
        name=name,
        artifact=ArtifactFacts(
            backend=artifact.backend,
            backend_version=artifact.backend_version,
            model_digest=artifact.model_digest,
            target=artifact.target,
            folder=str(artifact.folder),
            facts=dict(artifact.facts),
        ),
        settings=configuration.settings,
        signature=signature,
        workers=configuration.workers,
        max_batch=configuration.max_batch,
        batch_delay_us=configuration.batch_delay_us,
        environment=(*gpu, *configuration.environment),
        secret=tuple(name for name, value in configuration.environment if is_hidden(value)),
    )


@contextmanager
def hosted_endpoint(
    config: EndpointConfig,
    *,
    cpus: Iterable[int],
    memory_bytes: int | None = None,
    method: EnvelopeMethod | None = None,
    load_timeout_s: float = 60.0,
    module: str = MODULE,
    address: tuple[str, int] = ("127.0.0.1", 0),
    slot: Slot | None = None,
) -> Iterator[Hosted]:
    """Serve ``config`` at ``address``, held to ``cpus`` and ``memory_bytes``; all of it is gone on exit.

    The host and the port of ``config`` are not used; port 0 is any that is free. It is ready when every worker has
    answered a first prediction; if that takes longer than ``load_timeout_s`` the endpoint is stopped. One that is
    measured keeps the measuring ``slot`` for as long as it lives; one that merely serves has none.

    Raises WorkerCrashed, with the last line that the endpoint printed, OutOfMemory or TimedOut; MeasurementError if
    ``method`` does not work here; SpecError for a secret whose value is not known.
    """
    with ExitStack() as stack:
        # Memory without a name: nothing is left behind whoever dies. Whoever is to read it finds it under our own id.
        described = os.memfd_create("servefit-endpoint")
        stack.callback(os.close, described)
        environment = tuple(revealed(dict(config.environment)).items())
        os.write(described, replace(config, host=address[0], port=address[1], environment=environment).document())
        envelope = stack.enter_context(open_envelope(cpus, memory_bytes, method=method))
        began = time.monotonic()
        starting = _Endpoint(envelope, () if slot is None else slot.descriptors)
        # It is killed, and has no time to remove its copy of the artifact.
        stack.callback(sweep_private_folders, {**os.environ, **dict(environment)})
        stack.callback(starting.end)
        ready = starting.start([module, f"/proc/{os.getpid()}/fd/{described}"], dict(config.environment))
        stack.callback(os.close, ready)
        port = starting.read_port(ready, load_timeout_s)
        _log.info("endpoint ready at %s, port %d, after %.1f s", address[0], port, time.monotonic() - began)
        yield Hosted(starting, host=address[0], port=port, load_s=time.monotonic() - began)


class Hosted:
    """An endpoint that is ready. Made by :func:`hosted_endpoint`.

    ``url`` is its address without a path ("http://127.0.0.1:41234"), ``load_s`` how long it took from the start of the
    first process until the last worker had answered a prediction.
    """

    def __init__(self, endpoint: _Endpoint, *, host: str, port: int, load_s: float) -> None:
        self.envelope = endpoint.envelope
        self.port = port
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.load_s = load_s
        self._endpoint = endpoint

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes of the endpoint that live now, the supervisor first. A worker that died has been replaced."""
        return self._endpoint.pids()

    def check(self) -> None:
        """Raise the error for an endpoint that has ended, or one of whose workers was killed for memory since the last
        check."""
        self._endpoint.check()

    def pass_on(self, write: Callable[[bytes], object]) -> None:
        """Give ``write`` what the endpoint prints from now on."""
        self._endpoint.pass_on(write)

    def tell_to_stop(self) -> None:
        """Have it finish what is in flight and end; told a second time, it ends at once."""
        self._endpoint.tell_to_stop()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait until the endpoint has ended; give its exit status, or None where it has not ended in time."""
        return self._endpoint.wait(timeout_s)


class _Endpoint:
    """The processes of an endpoint, none before :meth:`start`. They inherit ``descriptors``."""

    def __init__(self, envelope: Envelope, descriptors: tuple[int, ...] = ()) -> None:
        self.envelope = envelope
        self._descriptors = descriptors
        self._started: tuple[subprocess.Popen[bytes], CapturedOutput] | None = None
        self._oom_kills = 0

    def start(self, arguments: list[str], environment: Mapping[str, str]) -> int:
        """Run a module with arguments; give the pipe on which it will say that it is ready."""
        ready, theirs = os.pipe()
        output = CapturedOutput(environment)
        command = [sys.executable, "-P", "-m", *arguments, "--ready-fd", str(theirs)]
        _log.debug("endpoint: %s, with %s", shlex.join(command), dict(environment))
        envelope = self.envelope
        try:
            process = subprocess.Popen(
                envelope.command(entering_command(envelope.cpus, envelope.join_files, command)),
                stdin=subprocess.DEVNULL,
                stdout=output.write_end,
                stderr=output.write_end,
                pass_fds=(theirs, *self._descriptors),
                env={**os.environ, **revealed(environment)},
                start_new_session=True,
            )
        except OSError as error:
            output.close()
            os.close(ready)
            raise MeasurementError(f"cannot start the endpoint: {error.strerror}") from error
        finally:
            os.close(theirs)
        self._started = process, output
        output.child_started()
        return ready

    def read_port(self, ready: int, timeout_s: float) -> int:
        """Wait for the line on ``ready`` that says where the endpoint listens."""
        limit_s = allowed_s(timeout_s)
        deadline = time.monotonic() + limit_s
        line = b""
        poller = poll()
        poller.register(ready)
        while not line.endswith(b"\n"):
            if time.monotonic() > deadline:
                raise timed_out("starting the endpoint", limit_s=limit_s, timeout_s=timeout_s)
            if not poller.poll(_POLL_MS):
                self.check()
                continue
            chunk = os.read(ready, _MAX_LINE_BYTES)
            if not chunk:
                self._raise_death()
            line += chunk
        try:
            return int(json.loads(line)["port"])
        except (ValueError, KeyError, TypeError) as error:
            raise MeasurementError(f"the endpoint said {line!r:.200} and not where it listens") from error

    def pids(self) -> tuple[int, ...]:
        import psutil

        if self._started is None:
            return ()
        process, _ = self._started
        with suppress(psutil.NoSuchProcess):
            return (process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True)))
        return ()

    def check(self) -> None:
        if self._started is None or self._started[0].poll() is not None:
            self._raise_death()
        kills = self.envelope.oom_kills()
        # Outside of a control group they may be anybody's.
        if kills > self._oom_kills and self.envelope.containment == "cgroup":
            self._oom_kills = kills
            raise death_within(self.envelope, -signal.SIGKILL, "", called="worker")

    def pass_on(self, write: Callable[[bytes], object]) -> None:
        if self._started is not None:
            self._started[1].pass_on(write)

    def tell_to_stop(self) -> None:
        if self._started is not None:
            self._started[0].terminate()

    def wait(self, timeout_s: float | None) -> int | None:
        if self._started is None:
            raise MeasurementError("the endpoint has ended")
        try:
            return self._started[0].wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """Kill the endpoint and everything it started."""
        if self._started is not None:
            process, output = self._started
            self._started = None
            end_process_group(process)
            output.close()

    def _raise_death(self) -> NoReturn:
        """Raise the error for an endpoint that has ended, or has hung up and is about to."""
        if self._started is None:
            raise MeasurementError("the endpoint has ended")
        process, output = self._started
        self._started = None
        try:
            status = process.wait(timeout=DEATH_WAIT_S)
        except subprocess.TimeoutExpired:
            status = 0
        end_process_group(process)
        printed = output.close()
        if self.envelope.containment == "cgroup" and self.envelope.oom_kills():
            raise death_within(self.envelope, -signal.SIGKILL, printed, called="worker")
        if status == 0:
            raise WorkerCrashed("the endpoint ended by itself", stderr=printed)
        raise death_within(self.envelope, status, printed, called="worker")
