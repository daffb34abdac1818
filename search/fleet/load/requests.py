"""A load from several clients as it may be asked for, and as it is put to each of them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.backends.model.scripts import pack
from servefit.backends.payload.bodies import Bodies
from servefit.errors import CorruptModel, SpecError
from servefit.processes import boot_id
from servefit.profiler.arrivals.seeds import derived_seed
from servefit.profiler.drivers.http.address import Address
from servefit.profiler.procedures.target_endpoint import PROTOCOLS
from servefit.profiler.record.traffic import OpenLoop
from servefit.quantities import size_text
from servefit.search.fleet.load_orders import LoadClient, LoadPayload
from servefit.search.storage.blobs import MAX_BYTES, Blobs
from servefit.state import temporary_folder

if TYPE_CHECKING:
    from servefit.search.request.load_request import LoadRequest

INLINE_BYTES = 2**18
"""A payload that is not larger goes with the order. Chosen: less than the answer of a client to an hour of load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSubject:
    """The endpoint at ``url``, and what it is sent: the arguments of ``load_endpoint``, but the payload is a file, or
    Bodies of a file or a folder."""

    url: str
    payload: Path | Bodies | None = None
    protocol: str = "auto"
    model: str | None = None
    allow_remote: bool = False

    def __post_init__(self) -> None:
        Address.parse(self.url)
        if self.protocol not in PROTOCOLS:
            raise SpecError.unknown("protocol", self.protocol, PROTOCOLS)

    @property
    def authority(self) -> str:
        """Host and port, for people."""
        return Address.parse(self.url).authority


def check_supported(request: LoadRequest) -> None:
    """Raise SpecError for a load that several clients cannot make together as one would."""
    why = "is for one client: several together send Poisson arrivals at a rate"
    if request.users is not None:
        raise SpecError("users", request.users, why, remedy="give --rate, or leave --from out")
    if request.phases is not None:
        raise SpecError("phases", None, why.replace("is for", "are for", 1), remedy="give --rate, or leave --from out")
    if request.arrivals != "poisson":
        remedy = "leave --arrivals out: of the shapes that add up to themselves it is the one that is built"
        raise SpecError("arrivals", request.arrivals, why, remedy=remedy)
    if request.sla.rate_per_s is None:
        raise SpecError(
            "rate", None, "is needed to load from several clients", remedy="give --rate: what is sent by all together"
        )


def client_orders(
    subject: LoadSubject, request: LoadRequest, clients: int, payload: LoadPayload | None, *, start_within_s: float
) -> tuple[LoadClient, ...]:
    """Return what each of so many ``clients`` is to do: an equal part of the rate, with arrivals of its own. Raises
    SpecError for parts that are none."""
    loop = request.open_loop()
    part_per_s = loop.rate_per_s / clients
    OpenLoop(rate_per_s=part_per_s, duration_s=loop.duration_s)
    thresholds = request.sla.thresholds
    return tuple(
        LoadClient(
            url=subject.url,
            protocol=subject.protocol,
            model=subject.model,
            payload=payload,
            rows_per_request=request.rows_per_request,
            rows_seed=request.seed,
            rate_per_s=part_per_s,
            duration_s=loop.duration_s,
            seed=derived_seed(request.seed, nth),
            connections=None if request.connections is None else ceil(request.connections / clients),
            timeout_s=request.timeout_s,
            percentiles=tuple(threshold.percentile for threshold in thresholds),
            limit_ms=min((threshold.limit_ms for threshold in thresholds), default=None),
            allow_remote=subject.allow_remote,
            boot=boot_id(),
            start_within_s=start_within_s,
        )
        for nth in range(clients)
    )


def sent_payload(payload: Path | Bodies, blobs: Blobs) -> LoadPayload:
    """Return the file that ``payload`` is as clients get it: in their orders, or from ``blobs``. A folder of bodies
    becomes an archive. Raises SpecError for what cannot be read, or is too large, and StorageError."""
    if not isinstance(payload, Bodies):
        return _sent_file(payload, blobs)
    source = Path(str(payload.source))
    with temporary_folder("load") as folder:
        if source.is_dir():
            packed = folder / f"{source.resolve().name}.tar.gz"
            try:
                pack(source, packed)
            except (OSError, CorruptModel) as error:
                raise SpecError("payload", str(source), f"cannot be read: {error}") from error
            source = packed
        return replace(
            _sent_file(source, blobs),
            bodies=True,
            content_type=payload.content_type,
            accept=payload.accept,
            each_line=payload.each_line,
        )


def _sent_file(path: Path, blobs: Blobs) -> LoadPayload:
    try:
        size_bytes = path.stat().st_size
        if size_bytes <= INLINE_BYTES:
            return LoadPayload(name=path.name, content=base64.b64encode(path.read_bytes()).decode())
    except OSError as error:
        raise SpecError("payload", str(path), f"cannot be read: {error.strerror or error}") from error
    if size_bytes > MAX_BYTES:
        raise SpecError("payload", str(path), f"is above {size_text(MAX_BYTES)}", remedy="give fewer rows")
    return LoadPayload(name=path.name, digest=blobs.put(path))
