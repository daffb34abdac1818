"""Load from one of several clients, as documents: what its agent is asked to send, and what it measured.

How clients begin together, and what their parts amount to, is in ``load``.
"""

from __future__ import annotations

from servefit.profiler.evidence.problem import Problem
from servefit.profiler.evidence.summary import Summary
from servefit.stored import Stored


class LoadPayload(Stored, frozen=True, kw_only=True):
    """The file with the payload, of that ``name``: its ``content`` in base64 where it is small, else the SHA-256 under
    which the database of the fleet keeps it. Where it holds ``bodies`` of requests to a script, ``content_type``,
    ``accept`` and ``each_line`` are as in ``Bodies``."""

    name: str
    content: str | None = None
    digest: str | None = None
    bodies: bool = False
    content_type: str | None = None
    accept: str | None = None
    each_line: bool = False


class LoadClient(Stored, frozen=True, kw_only=True):
    """Send Poisson arrivals at ``rate_per_s``, drawn from ``seed``, to the endpoint at ``url`` for ``duration_s``, from
    the moment that the coordinator names once all clients are ready (see ``load.starts``).

    ``protocol``, ``model``, ``connections``, ``timeout_s`` and ``allow_remote`` are as in ``load_endpoint``. Without a
    ``payload`` rows are drawn from ``rows_seed``. ``percentiles`` are given beside the usual ones, and lateness is held
    against ``limit_ms`` (None: the client's own p95). ``boot`` is the host that a loopback address means. A client that
    hears of no start within ``start_within_s`` of being ready sends nothing.
    """

    url: str
    protocol: str
    model: str | None
    payload: LoadPayload | None
    rows_per_request: int
    rows_seed: int
    rate_per_s: float
    duration_s: float
    seed: int
    connections: int | None
    timeout_s: float
    percentiles: tuple[str, ...]
    limit_ms: float | None
    allow_remote: bool
    boot: str
    start_within_s: float


class LoadBlock(Stored, frozen=True, kw_only=True):
    """The requests that were due in one tenth of a run: the ``histogram`` of the response times of those that were
    answered, in nanoseconds (HdrHistogram V2, compressed, in base64), and how many were not."""

    histogram: str
    unanswered: int


class LoadSeconds(Stored, frozen=True, kw_only=True):
    """Sums for every second of a run that has begun: how many requests were ``due`` in it, how many were ``answered``
    and ``failed``, and the response times of those that were answered, in nanoseconds."""

    due: tuple[int, ...]
    answered: tuple[int, ...]
    failed: tuple[int, ...]
    response_ns: tuple[int, ...]


class LoadPart(Stored, frozen=True, kw_only=True):
    """The load that one client sent, and its measurements.

    ``began_s`` and ``ended_s`` are by the clock of the database, in seconds since 1970, and right within
    ``clock_within_s``: when arrivals began to be due, and ceased to. The first one was sent ``late_s`` after it was
    due. ``backlog`` says that the client gave up before its time: the endpoint had too many requests waiting.
    ``blocks`` are ten of equal length, ``seconds`` begin at ``began_s``. ``cpus`` are those that the client ran on,
    ``is_here`` says that the endpoint is on the same machine.
    """

    endpoint: str
    protocol: str
    model: str | None
    payload: str
    synthetic: bool
    is_here: bool
    began_s: float
    ended_s: float
    clock_within_s: float
    late_s: float
    backlog: bool
    summary: Summary
    blocks: tuple[LoadBlock, ...]
    seconds: LoadSeconds
    cpus: tuple[int, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
