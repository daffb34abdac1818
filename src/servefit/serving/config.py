"""The description of an endpoint: what it serves and how, as one JSON file that is checked once, when it is read."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec

from servefit.backends.model.types import Signature
from servefit.backends.types import Artifact, Settings, Target
from servefit.errors import SpecError
from servefit.stored import Stored, left_out
from servefit.version import __version__

SCHEMA = 1
"""It rises when a newer file cannot be read by an older servefit any more."""

BACKEND_LOADER = "servefit.backends.compilation:load_predictor"

_log = logging.getLogger(__name__)

_WRITER = "servefit"
"""The field of a file that holds the version that wrote it. It is for messages alone."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_Count = Annotated[int, msgspec.Meta(ge=1)]
_Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Limits(Stored, frozen=True, kw_only=True):
    """The limits beyond which an endpoint refuses requests, each per worker.

    A request whose body is longer, or has more rows, gets 413; a call joins no more rows than one request may have. So
    does a row if the product of the sizes that it has for itself is more than ``row_size``, or, where that is None,
    than ``RowSizeLimit`` allows. More than ``queued_requests`` waiting for the predictor, or more than
    ``buffered_bytes`` of their rows, or of bodies being received or decoded, gets 503 with Retry-After; so do more than
    ``long_bodies`` that wait to be decoded beside the worker, and one that has waited for ``read_timeout_s``. A request
    that is not there ``read_timeout_s`` after its first byte gets 408, and a body that takes so much CPU time to decode
    413; a client that does not read its answers for so long is cut off, and a connection without requests is closed
    after ``idle_timeout_s``. A head of more than ``head_bytes`` or ``head_lines`` gets 431, and one that is not
    complete 503 while all of those together have ``unfinished_heads_bytes``. With ``connections`` open, the longest
    idle one is closed for a new one; while none is idle, new ones are answered health checks and /metrics, and else
    503. A worker that is told to stop has ``grace_s`` to finish what is in flight. One that has not returned from a
    call of its predictor after ``call_timeout_s``, or gives no sign of life for so long, is killed and replaced.
    """

    # Chosen, not measured, but for what memory they take together: benchmarks/claims/bodies.py and ADR 8.
    body_bytes: _Count = 25 * 2**20  # SageMaker's own limit for a body of /invocations
    rows: _Count = 100_000
    row_size: _Count | None = None
    queued_requests: _Count = 256
    long_bodies: _Count = 16  # of 25 MiB each in half of buffered_bytes five; most take 0.3 s, the worst 10 s
    buffered_bytes: _Count = 256 * 2**20  # ten of the longest bodies
    connections: _Count = 4096
    read_timeout_s: _Seconds = 10.0
    idle_timeout_s: _Seconds = 75.0  # as nginx keeps connections: keepalive_timeout
    grace_s: _Seconds = 30.0  # as Kubernetes waits for a pod: terminationGracePeriodSeconds
    call_timeout_s: _Seconds = 30.0
    head_bytes: _Count = 65_536  # as long as http.client lets a line be
    head_lines: _Count = 100  # as http.client and Apache (LimitRequestFields) allow
    unfinished_heads_bytes: _Count = 16 * 2**20


class ArtifactFacts(Stored, frozen=True, kw_only=True):
    """The artifact to serve; ``folder`` is absolute, or lies beside the file that says so."""

    backend: str
    backend_version: str
    model_digest: str
    target: Target
    folder: str
    facts: dict[str, Any]


class EndpointConfig(Stored, frozen=True, kw_only=True):
    """One endpoint. ``name`` is that of the model in URLs. ``port`` 0 takes any free one.

    ``workers`` processes have one predictor each, of ``settings``. A call joins up to ``max_batch`` requests, and the
    first of fewer waits up to ``batch_delay_us`` for others. ``rows_together`` says that the predictions of a request's
    rows depend on one another, so that it is one call. ``secret`` names variables whose values are not printed, beside
    those whose names say so. ``tells_failures`` says that clients are told what a script raises, where they are those
    that measure it. ``loader`` ("package.module:function") opens the artifact.
    ``job`` is the recommendation that it serves, "JOB/ID"; empty for a model that somebody chose to serve like this.
    """

    schema: int = SCHEMA
    name: str
    artifact: ArtifactFacts
    settings: Settings = Settings()
    signature: Signature
    workers: _Count = 1
    max_batch: _Count = 1
    batch_delay_us: Annotated[int, msgspec.Meta(ge=0)] = 0
    rows_together: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    secret: tuple[str, ...] = ()
    tells_failures: bool = False
    host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8080
    limits: Limits = Limits()
    loader: str = BACKEND_LOADER
    job: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SpecError("name", self.name, "is not a name of letters, digits, dots and dashes (64 at most)")
        if self.schema != SCHEMA:
            raise SpecError("schema", self.schema, f"is not the {SCHEMA} that servefit {__version__} reads")

    @classmethod
    def read(cls, path: Path) -> EndpointConfig:
        """Return the endpoint that ``path`` describes. Raises SpecError, naming the field."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SpecError("endpoint", str(path), f"cannot be read: {error.strerror}") from error
        try:
            document = msgspec.json.decode(content)
            writer = document.pop(_WRITER, None) if isinstance(document, dict) else None
            schema = document.get("schema", SCHEMA) if isinstance(document, dict) else SCHEMA
            if type(schema) is int and schema > SCHEMA:
                raise _newer(schema, writer)
            config = msgspec.convert(document, cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SpecError("endpoint", str(path), f"is not the description of an endpoint: {error}") from error
        if unknown := list(left_out(document, msgspec.to_builtins(config))):
            _log.warning("%s: left out %s, which servefit %s does not know", path, ", ".join(unknown), __version__)
        folder = str((path.parent / config.artifact.folder).resolve())
        return replace(config, artifact=replace(config.artifact, folder=folder))

    def document(self) -> bytes:
        """Return what :meth:`read` reads: JSON for people to read too, with the version that wrote it."""
        document = {_WRITER: __version__, **msgspec.to_builtins(self)}
        return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"

    def opened(self) -> Artifact:
        """Return the artifact as backends know it."""
        facts = self.artifact
        return Artifact(
            backend=facts.backend,
            backend_version=facts.backend_version,
            model_digest=facts.model_digest,
            target=facts.target,
            folder=Path(facts.folder),
            facts=facts.facts,
        )


def _newer(schema: int, writer: Any) -> SpecError:
    """Return the error for a file of a newer schema. ``writer`` is the version that wrote it, as the file says it."""
    version = f"{writer:.40}" if isinstance(writer, str) else None
    of = "a newer servefit" if version is None else f"servefit {version}"
    problem = f"is of {of}; this is servefit {__version__}, which reads up to {SCHEMA}"
    remedy = "update servefit" if version is None else f"update servefit to {version} or later"
    return SpecError("schema", schema, problem, remedy=remedy)
