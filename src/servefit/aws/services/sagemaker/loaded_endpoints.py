"""The endpoint that a recommendation job loads: one of this server, or, by a tag of the job, what answers at a URL of
this machine."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from servefit.aws.endpoints.hosts import KIND
from servefit.aws.jobs.endpoint_load import EndpointLoad, KeptLoad
from servefit.aws.jobs.plan import LoadedEndpoint
from servefit.aws.state.resources import Missing
from servefit.aws.wire.errors import invalid
from servefit.errors import SpecError
from servefit.profiler.drivers.http.address import Address

if TYPE_CHECKING:
    from servefit.aws.endpoints.hosts import EndpointHosts
    from servefit.aws.jobs.files import JobFiles
    from servefit.aws.state.resources import Resources

URL_TAG = "servefit:url"
"""The key of the tag of a job that has the URL of its endpoint. That cannot be one of IPv6: tags of AWS hold no
brackets."""

_PATIENCE_S = 60.0
"""An endpoint that is being created when its job has its turn has so long to come into service. Chosen, not measured:
most compile nothing, and take a second or two."""

_LOOK_S = 0.1


class LoadedEndpoints:
    """Finds the endpoints of jobs. Those of this server are kept in ``resources``, and served by ``hosts``."""

    def __init__(self, resources: Resources, hosts: EndpointHosts) -> None:
        self._resources = resources
        self._hosts = hosts

    def of_request(self, request: Mapping[str, Any]) -> LoadedEndpoint | None:
        """Return the endpoint that a request for a job asks for, None where it asks for none. Raises ApiError for one
        that is not there or not here."""
        asked = request["InputConfig"].get("Endpoints")
        tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())}
        url = tags.get(URL_TAG)
        if not asked:
            if url is not None:
                raise invalid(f"The tag {URL_TAG} says where an endpoint is: give its name in InputConfig.Endpoints.")
            return None
        name = asked[0]["EndpointName"]
        if url is not None:
            _check_is_here(url)
            return LoadedEndpoint(name=name, url=url)
        try:
            variant = self._resources.get(KIND, name).document["Variant"]
        except Missing as error:
            raise invalid(f'Could not find endpoint "{name}".') from error
        return LoadedEndpoint(
            name=name,
            variant=variant["VariantName"],
            instance_type=variant["InstanceType"],
            instance_count=variant.get("InitialInstanceCount", 1),
        )

    def prepare(self, files: JobFiles, is_wanted: Callable[[], bool]) -> None:
        """Find out, when a job has its turn, where its endpoint is, and keep that. It waits while the endpoint is being
        created, as long as the job ``is_wanted``."""
        endpoint, kept = files.plan().endpoint, KeptLoad(files.folder)
        earlier = kept.read()
        if endpoint is None or endpoint.url is not None or (earlier is not None and earlier.is_over):
            return
        until = time.monotonic() + _PATIENCE_S
        while (load := self._found(endpoint.name)) is None and is_wanted() and time.monotonic() < until:
            time.sleep(_LOOK_S)
        if load is None:
            load = _out_of_service(f"it is still being created after {_PATIENCE_S:.0f} s")
        if is_wanted():
            kept.write(load)

    def _found(self, name: str) -> EndpointLoad | None:
        """Return the load of an endpoint that can begin, or has failed; None while that is open."""
        try:
            self._resources.get(KIND, name)
        except Missing:
            return _out_of_service("it was deleted")
        state = self._hosts.state(name)
        if state.status == "InService":
            return EndpointLoad(status="PENDING", url=f"http://127.0.0.1:{state.port}")
        return _out_of_service(f"it is Failed: {state.reason}") if state.status == "Failed" else None


def _out_of_service(why: str) -> EndpointLoad:
    return EndpointLoad(status="FAILED", reason=f"it is not in service: {why}")


def _check_is_here(url: str) -> None:
    """Raise ApiError for a URL that is no address of this machine by its look: no name is looked up."""
    try:
        address = Address.parse(url)
    except SpecError as error:
        raise invalid(f"{URL_TAG}: {error}") from error
    host = address.host
    if host != "localhost" and not _is_loopback(host):
        raise invalid(
            f"{URL_TAG}: {host} is not this machine, such as 127.0.0.1 (tags hold no address of IPv6): load is sent "
            "nowhere else."
        )
    if address.port == 0:
        raise invalid(f"{URL_TAG}: nothing can listen at port 0: give the port that the endpoint listens at.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
