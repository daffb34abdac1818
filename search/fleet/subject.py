"""The subject of a job, which is the model and the rows of its payload, as it comes from the host that begins the job
to all others.

The process that begins a job publishes both into its database; every other host gets them from there, or from a path
that hosts share, and opens the model as any other. What is measured with them is for others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.model import Model
from servefit.backends.model.finding import find_in_file
from servefit.backends.model.keeping import ModelFile, find_kept, named_by_format
from servefit.backends.model.kept import check_kept
from servefit.backends.model.loading import file_of, inspect_and_keep, reading
from servefit.backends.model.types import Format
from servefit.backends.payload import Payload
from servefit.errors import CorruptModel, ModelError, PayloadMismatch, ServefitError, SpecError
from servefit.quantities import size_text
from servefit.search.fleet.old_orders import delete_old_orders
from servefit.search.fleet.tables import OPEN, fleet_tables
from servefit.search.jobs.written_by_others import check_metric_is_known
from servefit.search.storage.blobs import MAX_BYTES, Blobs, too_large
from servefit.state import state_folder, temporary_folder

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from servefit.search.storage.header import JobHeader
    from servefit.search.storage.jobs import JobStore

_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The model and the payload of a job, on this host."""

    model: Model
    payload: Payload


def publish(blobs: Blobs, header: JobHeader, payload_file: Path) -> None:
    """Put the model of a job, and its payload, which is in the NPY file ``payload_file``, where other hosts find them.

    A model that is larger than ``blobs`` takes stays where it is: at a path that all hosts share. The job is kept in
    the database before this is called, so that its contents are not deleted.

    Raises SpecError for a job with secrets, which stay on this host, for a model that is too large and was not named by
    an absolute path, and for a payload that is too large or cannot be read; CorruptModel for a model that is not what
    it was when it was opened; StorageError, StateError.
    """
    check_publishable(header)
    model, payload = header.model, header.payload
    is_shared = model.size_bytes > MAX_BYTES
    rows = _rows_in(payload_file, header)
    if rows.nbytes > MAX_BYTES:
        raise SpecError("payload", payload.source, f"is above {size_text(MAX_BYTES)}", remedy="give fewer rows")
    check_kept(model)
    if not is_shared and blobs.put(model.file) != model.digest:
        raise CorruptModel(model.file, "it is not what it was when it was opened", remedy="open the model again")
    blobs.put(rows.data)


def obtain(blobs: Blobs, header: JobHeader, *, trust_pickle: bool, trust_code: bool = False) -> Subject:
    """Return what a job is about, on whatever host this is. All that the header says of model and payload holds of
    them too; only the files are those of this host.

    The model is taken from what this host keeps, else from the path that it came from where the same is there, else
    from ``blobs``. Without ``trust_pickle`` nothing is opened that runs code, and without ``trust_code`` no script.

    Raises ModelError where there is no such model, where it is a pickle that this host does not trust, and where it
    opens as another one here; SpecError for a metric that is a function; PayloadMismatch where the header is not true
    of the payload; BackendUnavailable, StorageError, StateError.
    """
    check_metric_is_known(header.request)
    return Subject(
        model=_model(blobs, header.model, trust_pickle=trust_pickle, trust_code=trust_code),
        payload=_payload(blobs, header),
    )


def delete_unneeded(store: JobStore) -> int:
    """Delete the models and payloads in ``store`` that neither a job nor an open order needs any more, and return how
    many those were: a job that is over needs none. None of them is deleted while there is a job that cannot be read.
    Orders that are not needed any more are deleted too. Raises StorageError."""
    delete_old_orders(store)
    return Blobs.of(store).delete_all_but(lambda: _needed(store))


def _needed(store: JobStore) -> set[str] | None:
    """Return the digests of what jobs need; None where that cannot be told."""
    needed = set()
    for job in store.overview():
        if job.header is None or job.state is None:
            return None
        if job.state.status not in ("COMPLETED", "FAILED"):
            needed |= {job.header.model.digest, job.header.payload.digest}
    return needed | _ordered(store)


def _ordered(store: JobStore) -> set[str]:
    """Return the digests in open orders, such as that of the payload of a load."""

    def read(connection: Connection) -> list[str]:
        from sqlalchemy import inspect, select

        orders = fleet_tables().orders
        if not inspect(connection).has_table(orders.name):
            return []
        return list(connection.execute(select(orders.c.document).where(orders.c.state == OPEN)).scalars())

    return {digest for text in store.database.run(read) for digest in _DIGEST.findall(text)}


def check_publishable(header: JobHeader) -> None:
    """Raise SpecError for a job that other hosts cannot have: with secrets, or a model that is too large and was not
    named by an absolute path."""
    model = header.model
    if model.size_bytes > MAX_BYTES and not Path(model.source).is_absolute():
        raise too_large("model", model.source)
    quality = header.request.precision.quality
    if quality is not None and quality.is_own_function:
        raise SpecError(
            "metric",
            quality.metric,
            "is a function of this host, and others run no code that a job names",
            remedy="name one of servefit's own metrics, or let this host alone measure",
        )
    for varied in header.request.environment:
        if varied.holds_secrets:
            raise SpecError(
                "env",
                varied.variable,
                "is a secret, which stays on the host that began the job",
                remedy="leave it out, or let this host alone measure",
            )


def _rows_in(file: Path, header: JobHeader) -> np.ndarray:
    """Return the rows in an NPY file, if they are those of the job. They are read as they are needed."""
    try:
        rows: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SpecError("payload", str(file), "cannot be read") from error
    rows = np.ascontiguousarray(rows)
    if sha256(rows.data).hexdigest() != header.payload.digest:
        raise SpecError("payload", str(file), "is not what the job began with")
    return rows


def _payload(blobs: Blobs, header: JobHeader) -> Payload:
    facts, columns = header.payload, header.model.signature.features
    datatype = np.dtype(header.model.signature.row_datatype)
    with temporary_folder("payload", state_folder("models")) as folder:
        file = folder / "rows"
        blobs.fetch(facts.digest, file)
        size_bytes = file.stat().st_size
        if header.model.signature.sizes:  # rows are as wide as the widest of them
            columns = size_bytes // (facts.rows * datatype.itemsize)
        if size_bytes != facts.rows * columns * datatype.itemsize:
            expected = f"{facts.rows} rows of {columns} columns of {datatype}"
            raise PayloadMismatch(facts.source, expected=expected, got=f"{size_bytes} bytes")
        rows = np.fromfile(file, datatype)
    return Payload(
        rows=rows.reshape(facts.rows, columns),
        source=facts.source,
        synthetic=facts.synthetic,
        truncated_from=facts.truncated_from,
        unused_columns=facts.unused_columns,
        sizes=facts.sizes,
    )


def _model(blobs: Blobs, wanted: Model, *, trust_pickle: bool, trust_code: bool = False) -> Model:
    if wanted.format.that_runs_code and not trust_pickle:
        raise _untrusted(wanted)
    if wanted.format is Format.SCRIPT and not trust_code:
        raise _untrusted_script(wanted)
    problem = None
    with ExitStack() as stack:
        for file in _places(blobs, wanted, stack):
            if file.format.that_runs_code and not trust_pickle:
                problem = _untrusted(wanted)
                continue
            opened = Model.of(inspect_and_keep(file, wanted.source))
            if opened.digest == wanted.digest:
                return _as_described(opened, wanted)
            problem = _opens_as_another(wanted)
    raise problem or _absent(wanted)


def _places(blobs: Blobs, wanted: Model, stack: ExitStack) -> Iterator[ModelFile]:
    """Yield the files that are the model, wherever there is one. They are gone with ``stack`` unless they are kept."""
    is_shared = wanted.size_bytes > MAX_BYTES
    trusted = wanted.format is Format.SCRIPT  # an agent that does not trust it does not come here
    digests = {wanted.digest}
    if is_shared:
        # The file that is shared may be what the model was made of, in whose folder it lies then.
        digests.update(filter(_DIGEST.fullmatch, wanted.file.parts))
    yield from filter(None, map(find_kept, digests))
    # What the user said of its inputs is in the copy of the database already.
    if Path(wanted.source).is_absolute() and (is_shared or not wanted.given):
        shared = None
        # A path that is missing or unreadable is no error: the model comes from the database then.
        with suppress(ServefitError, OSError):
            source = file_of(Path(wanted.source), trust_code=trusted)
            shared = stack.enter_context(reading(source, wanted.given, trust_code=trusted))
        if shared is not None and shared.digest in digests:
            yield shared
    if not is_shared:
        folder = stack.enter_context(temporary_folder("reading", state_folder("models")))
        copy = folder / "file"
        blobs.fetch(wanted.digest, copy)
        blamed = Path(wanted.source)
        file = find_in_file(copy, wanted.digest, folder / "unpacked", blamed=blamed, trust_code=trusted)
        if file.digest != wanted.digest:  # it holds another file
            raise _opens_as_another(wanted)
        yield named_by_format(file)


def _as_described(opened: Model, wanted: Model) -> Model:
    """Return the model as the header has it, with the files of this host. Raises CorruptModel where this host sees
    another in it."""
    depends = opened.batch_dependent and not wanted.batch_dependent
    signature = opened.signature
    if signature.sizes:
        # The sizes of the rows that are drawn were given, or seen in the payload, where the job began.
        usual = {size.name: size.usual for size in wanted.signature.sizes}
        signature = replace(signature.of_sizes(usual), sizes=wanted.signature.sizes)
    if depends or (opened.format, signature) != (wanted.format, wanted.signature):
        raise _opens_as_another(wanted)
    return replace(wanted, file=opened.file, splits=opened.splits, converted=opened.converted)


def _untrusted(wanted: Model) -> ModelError:
    what = wanted.format.that_runs_code or "a pickle"
    opening = "unpickling" if what == "a pickle" else "opening it"
    return ModelError(
        f"{wanted.source} is {what}, {opening} runs whatever code it holds, and the agent on this host was started "
        "without --trust-pickle",
        remedy="start it with --trust-pickle if you know who made the model",
    )


def _untrusted_script(wanted: Model) -> ModelError:
    return ModelError(
        f"{wanted.source} is served by its own script, which is code, and the agent on this host was started without "
        "--trust-code",
        remedy="start it with --trust-code if you know who made the script",
    )


def _opens_as_another(wanted: Model) -> CorruptModel:
    return CorruptModel(
        Path(wanted.source),
        f"what this host's {wanted.library} opens is not the model that the job began with",
        remedy=f"install the same version of {wanted.library} on both hosts",
    )


def _absent(wanted: Model) -> CorruptModel:
    return CorruptModel(
        Path(wanted.source),
        f"it is above {size_text(MAX_BYTES)}, so it is not in the database, and the same is not at this path here",
        remedy="share the path with this host",
    )
