"""The whole server: its services on what is kept in the state folder, at one address of this machine."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.aws.endpoints.hosts import EndpointHosts
from servefit.aws.endpoints.invocations import InvocationLogs
from servefit.aws.http.application import Application
from servefit.aws.jobs.model_data import DataVersions
from servefit.aws.jobs.own_job import OwnJobs
from servefit.aws.jobs.plan import JobSettings
from servefit.aws.jobs.queue import JobQueue
from servefit.aws.s3.service import S3
from servefit.aws.s3.urls import file_of
from servefit.aws.services.autoscaling.service import AutoScaling
from servefit.aws.services.call import ACCOUNT
from servefit.aws.services.cloudwatch.service import CloudWatch
from servefit.aws.services.identity import IAM, STS
from servefit.aws.services.logs import Logs
from servefit.aws.services.members import refusing_others
from servefit.aws.services.runtime import Runtime
from servefit.aws.services.sagemaker.instance_types import type_of
from servefit.aws.services.sagemaker.service import SageMaker
from servefit.aws.services.taken import TAKEN
from servefit.aws.state.claim import FOLDER, claimed
from servefit.aws.state.resources import Resources
from servefit.aws.wire.service_models import service_model
from servefit.errors import SpecError
from servefit.profiler.machine.background import work_in_background
from servefit.profiler.machine.host import Host, describe_host
from servefit.profiler.machine.profiles import all_profiles, find_profile
from servefit.state import state_folder

if TYPE_CHECKING:
    from servefit.aws.wire.signatures import SigningSecret

_MAX_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The options of a server. ``port`` 0 is any that is free."""

    host: str = "127.0.0.1"
    port: int = 8181
    s3_root: Path | None = None
    account: str = ACCOUNT
    secret: SigningSecret | None = None
    jobs: JobSettings = JobSettings()

    def __post_init__(self) -> None:
        """Raise SpecError for an account that is none, and a port."""
        if not 0 <= self.port <= _MAX_PORT:
            raise SpecError("port", self.port, f"is not between 0 and {_MAX_PORT}")
        if len(self.account) != 12 or not self.account.isascii() or not self.account.isdecimal():
            raise SpecError("account", self.account, "is not 12 digits")


@contextmanager
def application(options: ServerOptions) -> Iterator[Application]:
    """Give the application of a server while the block lasts, with its jobs and its endpoints. The calling thread,
    which is to answer requests, makes way for what is measured from then on. Raises StateError, and SpecError for
    options that make no sense on this machine."""
    with ExitStack() as stack:
        folder = state_folder(FOLDER)
        root = options.s3_root or objects_folder()
        host = describe_host()
        for name in options.jobs.profiles.values():
            find_profile(name, host)
        extensions = Extensions(options.jobs.profiles, host)
        extensions.check_types("price", options.jobs.prices)
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SpecError("s3_root", str(root), f"cannot be a folder of objects: {reason}") from error
        s3 = S3(root, checks_signatures=options.secret is not None)
        resources = Resources(folder / "resources.db")
        stack.callback(resources.close)
        versions, own_jobs = DataVersions(), OwnJobs()
        stack.callback(own_jobs.close)
        queue = JobQueue(
            resources, versions, jobs=state_folder(FOLDER, "jobs"), surveys=state_folder(FOLDER, "surveys")
        )
        hosts = EndpointHosts(
            resources,
            state_folder(FOLDER, "endpoints"),
            trust_pickle=options.jobs.trust_pickle,
            trust_code=options.jobs.trust_code,
            allowed=options.jobs.allow_env,
        )
        logs = InvocationLogs(state_folder(FOLDER, "endpoints"))
        sagemaker = SageMaker(
            resources,
            queue,
            hosts,
            file_of=lambda url: file_of(url, s3.places),
            versions=versions,
            own_jobs=own_jobs,
            settings=options.jobs,
            host=host,
        )
        operations = {
            "sagemaker": sagemaker.operations,
            "logs": Logs(resources, queue).operations,
            "cloudwatch": CloudWatch(resources, queue, logs, own_jobs).operations,
            "sts": STS,
            "iam": IAM,
            "application-autoscaling": AutoScaling(resources, sagemaker.endpoints).operations,
        }
        app = Application(
            operations={service: refusing_others(answered, TAKEN[service]) for service, answered in operations.items()},
            s3=s3,
            runtime=Runtime(sagemaker.endpoints.served_by, logs),
            account=options.account,
            extension=extensions,
            secret=options.secret,
            hosts=_LOOPBACK if options.host in _LOOPBACK else None,
        )
        stack.callback(app.close)
        hosts.start()
        stack.callback(hosts.close)
        queue.start(sagemaker.prepare)
        stack.callback(queue.close)
        # The threads that begin what is measured are there by now.
        work_in_background(host.cpus)
        yield app


def objects_folder() -> Path:
    """Return the default folder of the objects of S3. Raises StateError."""
    return state_folder(FOLDER, "s3")


class Extensions:
    """Values that are taken beside those of AWS's service model: servefit's own profiles of ``host`` as instance types,
    those that are measured as ``profiles``, and files as the places of models and payloads."""

    def __init__(self, profiles: Mapping[str, str], host: Host) -> None:
        self._mapped = profiles
        self._host = host

    def __call__(self, shape: str, value: Any) -> bool:
        """Return whether a value of a shape is taken besides."""
        if shape == "ProductionVariantInstanceType":
            return value in self._known_types
        return shape in _URLS and isinstance(value, str) and value.startswith("file://") and len(value) <= _MAX_URL

    def check_types(self, field: str, names: Iterable[str]) -> None:
        """Raise SpecError for the name of no instance type."""
        for name in names:
            if not self("ProductionVariantInstanceType", name):
                enum = service_model("sagemaker").shape_for("ProductionVariantInstanceType").enum
                if name not in enum:
                    raise SpecError.unknown(field, name, [*enum, *self._known_types])

    @cached_property
    def _known_types(self) -> frozenset[str]:
        names = [profile.name for profile in all_profiles(self._host)]
        return frozenset({*self._mapped, *names, *(type_of(name) for name in names if name.startswith("local-"))})


_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_URLS = frozenset({"Url", "S3Uri", "RecommendationJobSupportedUrl"})
_MAX_URL = 1024


def serve(options: ServerOptions, *, ready: Callable[[str], None], until: Callable[[], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM; ``ready`` is told the address once requests are answered. Where there is an
    ``until``, the server ends too when that returns.

    Raises SpecError for an address that cannot be listened on, and where the state folder has a server already; and as
    :func:`application`.
    """
    from servefit.aws.http.server import limited_server

    with ExitStack() as stack:
        tell = stack.enter_context(claimed(state_folder(FOLDER)))
        listening = stack.enter_context(_listen(options.host, options.port))
        address = _address(options.host, listening.getsockname()[1])
        tell(address)
        app = stack.enter_context(application(options))
        server = limited_server(app)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        # A parent process may ignore it; then the exit status of processes would be lost.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # It comes from a user who ends the server as soon as it is ready, and from uvicorn once requests in flight are
        # answered.
        with suppress(KeyboardInterrupt):
            ready(address)
            if until is not None:
                _end_after(until)
            server.run(sockets=[listening])


def _end_after(until: Callable[[], None]) -> None:
    """Have this process told to end once ``until`` returns."""

    def wait() -> None:
        until()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="until", daemon=True).start()


def _address(host: str, port: int) -> str:
    """Return where clients of this machine find a server that listens on ``host``."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound here
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SpecError(
            "port", port, f"of {host} cannot be listened on: {reason.lower()}", remedy="choose another with --port"
        ) from error
