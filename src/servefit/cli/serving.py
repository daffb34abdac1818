"""``servefit serve``: an endpoint in the foreground, in the envelope of its profile, until a signal says stop."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from servefit.cli.deployments import DeploymentOptions, NameOption
from servefit.cli.options import QuietOption
from servefit.cli.output import print_line, warn
from servefit.cli.progress import showing_stage
from servefit.cli.signatures import option
from servefit.cli.status import INTERRUPTED, NOTHING_MEASURED
from servefit.option_panels import MACHINE, TRAFFIC
from servefit.quantities import size_text
from servefit.serving.config import Limits

if TYPE_CHECKING:
    from servefit.profiler.drivers.hosted_endpoint import Hosted
    from servefit.search.deployment.deployable import Deployable

_BYTES_PER_MIB = 2**20

_USUAL = Limits()


def serve(
    deployment: DeploymentOptions,
    name: NameOption = None,
    host: Annotated[str, option("Address to listen on.", MACHINE, "ADDRESS")] = "127.0.0.1",
    port: Annotated[
        int, option("Port to listen on; 0 is any that is free.", MACHINE, "PORT", least=0, most=65535)
    ] = 8080,
    max_body: Annotated[
        int | None,
        option(f"Largest body taken. Default {_USUAL.body_bytes // _BYTES_PER_MIB}.", TRAFFIC, "MIB", least=1),
    ] = None,
    max_queue: Annotated[
        int | None,
        option(f"Most requests that wait for a worker. Default {_USUAL.queued_requests}.", TRAFFIC, "N", least=1),
    ] = None,
    max_size: Annotated[
        int | None,
        option(
            "Largest product of the sizes that a row has for itself, such as the length of a text. Default: 4096, or "
            "four times that of the payload.",
            TRAFFIC,
            "N",
            least=1,
        ),
    ] = None,
    call_timeout: Annotated[
        str | None,
        option(
            f"A worker whose call takes longer is killed and replaced. Default {_USUAL.call_timeout_s:g}s.",
            TRAFFIC,
            f"{_USUAL.call_timeout_s:g}s",
        ),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Serve what JOB recommends, exactly as it was measured, until SIGTERM, SIGHUP or Ctrl-C; then answer what is in
    flight.

    Exit status: 0 after such a stop, 2 for an address that cannot be listened on, 4 when it cannot load or dies, or
    something in flight was not answered in time, 130 when it was stopped while it loaded, or a second signal cut the
    stop short.

    Example: servefit serve fraud-20261124-120000 --port 8080
    """
    signals = _Signals()

    from servefit.search.deployment.served import check_address, hosting
    from servefit.serving.acceptor import allow_descriptors

    limits = replace(_limits(max_body, max_queue, call_timeout), row_size=max_size)
    if not check_address(host, port):
        warn(f"{host} can be reached from other machines, and there is neither authentication nor TLS")
    if (warning := allow_descriptors(limits.connections)[1]) is not None:
        warn(warning)
    deployable = deployment.deployable(quiet=quiet)
    signals.check()
    config = deployable.endpoint(name=name, host=host, port=port, limits=limits)
    with ExitStack() as stack:
        with showing_stage(f"loading {config.name}", quiet=quiet):
            hosted = stack.enter_context(hosting(deployable, config))
        signals.pass_on(hosted)
        # Before anybody is told that it is ready: what happens from then on is told too.
        hosted.pass_on(partial(os.write, sys.stderr.fileno()))
        print_line(_headline(deployable, config.name, hosted))
        status = _until_ended(hosted, signals)
    if status:
        raise typer.Exit(INTERRUPTED if signals.count > 1 else NOTHING_MEASURED)


class _Signals:
    """Handlers of SIGTERM, SIGINT and SIGHUP: they interrupt the command, or, once there is an endpoint, tell it to
    stop.

    ``count`` is the number of signals that have come. SIGHUP does not count where nohup has it ignored, nor beside
    another signal, since some programs send both.
    """

    def __init__(self) -> None:
        self.count = 0
        self._without_hangups = 0
        self._hosted: Hosted | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come already. It may have come while Python was where exceptions are
        dropped, as in a finaliser."""
        if self.count:
            raise KeyboardInterrupt

    def pass_on(self, hosted: Hosted) -> None:
        self._hosted = hosted
        if self.count:
            hosted.tell_to_stop()

    def _handle(self, number: int, _: FrameType | None) -> None:
        self._without_hangups += number != signal.SIGHUP
        before, self.count = self.count, max(1, self._without_hangups)
        if self.count == before:
            return
        if self._hosted is None:
            raise KeyboardInterrupt
        self._hosted.tell_to_stop()


def _limits(max_body_mib: int | None, max_queue: int | None, call_timeout: str | None) -> Limits:
    from servefit.quantities import parse_duration_s

    limits = Limits()
    if max_body_mib is not None:
        limits = replace(limits, body_bytes=max_body_mib * _BYTES_PER_MIB)
        limits = replace(limits, buffered_bytes=max(limits.buffered_bytes, limits.body_bytes))
    if call_timeout is not None:
        limits = replace(limits, call_timeout_s=parse_duration_s("call_timeout", call_timeout))
    return limits if max_queue is None else replace(limits, queued_requests=max_queue)


def _headline(deployable: Deployable, name: str, hosted: Hosted) -> str:
    """Return the line about an endpoint that is ready: its URL, its configuration, and the envelope of its workers."""
    from servefit.search.deployment.deployable import configuration_text, cpu_ranges

    envelope = hosted.envelope
    limit = "no memory limit"
    if envelope.memory_limit_bytes is not None:
        limit = size_text(envelope.memory_limit_bytes)
    held = envelope.method if envelope.containment == "cgroup" else "uncontained: affinity alone"
    return (
        f"{name} is served at {hosted.url} by {configuration_text(deployable.configuration)}, "
        f"as {deployable.profile.name} (CPU {cpu_ranges(envelope.cpus)}, {limit}, {held})"
    )


def _until_ended(hosted: Hosted, signals: _Signals) -> int:
    """Wait until the endpoint has ended, and return its exit status. Raises the error of an endpoint that ended without
    a signal."""
    status = hosted.wait() or 0
    if status and not signals.count:
        hosted.check()
    return status
