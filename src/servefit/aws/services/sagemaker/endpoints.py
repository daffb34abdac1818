"""Endpoints: what ``servefit serve`` serves on this machine, in processes that the server begins and ends.

What is served is settled when an endpoint is made, by the variables of its model: a recommendation's are servefit's own
choices, so that what was measured is what is served. A model without them gets the best configuration that was measured
for its data on that instance type, or else the backend of its own library.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.aws.endpoints.hosts import KIND
from servefit.aws.endpoints.invocations import Variant
from servefit.aws.endpoints.variables import BACKEND, MEASURED_AS, refuse_variables
from servefit.aws.services.pages import listed
from servefit.aws.services.sagemaker.models import container_of
from servefit.aws.services.sagemaker.packages import data_of
from servefit.aws.services.sagemaker.tags import keep_tags
from servefit.aws.state.resources import Missing, Taken
from servefit.aws.wire.errors import ApiError, invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.aws.endpoints.hosts import EndpointHosts
    from servefit.aws.services.call import Call, Operations
    from servefit.aws.services.sagemaker.endpoint_configurations import EndpointConfigurations
    from servefit.aws.services.sagemaker.instance_types import InstanceTypes
    from servefit.aws.services.sagemaker.models import Models
    from servefit.aws.services.sagemaker.packages import Packages
    from servefit.aws.state.resources import Resource, Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A variant of an endpoint, and the port of this machine at which it is served."""

    variant: Variant
    port: int


class Endpoints:
    """The operations on endpoints.

    Args:
        resources: Where endpoints are kept.
        hosts: What serves them.
        configurations: The configurations that they are made of.
        models: The models of these.
        packages: The model packages that models may name in place of data of their own.
        file_of: Gives the file of an s3:// or file:// URL.
        measured_best: Gives the variables of the best that was measured for the data in a file, as it is now, on an
            instance type; none where nothing was.
        types: Gives the profiles that are served as in place of instance types.
            allowed: Variables that a model may set beside those of the list.
    """

    def __init__(
        self,
        resources: Resources,
        hosts: EndpointHosts,
        configurations: EndpointConfigurations,
        models: Models,
        packages: Packages,
        *,
        file_of: Callable[[str], Path],
        measured_best: Callable[[Path, str], Mapping[str, str]],
        types: InstanceTypes,
        allowed: Collection[str],
    ) -> None:
        self._resources = resources
        self._hosts = hosts
        self._configurations = configurations
        self._models = models
        self._packages = packages
        self._file_of = file_of
        self._measured_best = measured_best
        self._types = types
        self._allowed = allowed

    @property
    def operations(self) -> Operations:
        return {
            "CreateEndpoint": self.create,
            "DescribeEndpoint": self.describe,
            "ListEndpoints": self.list,
            "UpdateEndpointWeightsAndCapacities": self.update_weights,
            "DeleteEndpoint": self.delete,
        }

    def create(self, call: Call) -> dict[str, Any]:
        request = call.given
        name = request["EndpointName"]
        configuration = self._configurations.find(request["EndpointConfigName"])
        variant = configuration.document["ProductionVariants"][0]
        arn = call.arn(f"{KIND}/{name.lower()}")
        container = container_of(self._models.find(variant["ModelName"]))
        url, variables = data_of(container, self._packages, about=f"Model {variant['ModelName']}")
        instance_type, model = variant["InstanceType"], self._file_of(url)
        if BACKEND not in variables:
            variables = {**self._measured_best(model, instance_type), **variables}
        # Those of a model that an earlier version made have not been looked at.
        refuse_variables({"Environment": variables}, self._allowed)
        measured = self._types.find(instance_type)
        if measured.reason is not None and MEASURED_AS not in variables:
            raise invalid(f"{instance_type} cannot be served here: {measured.reason}.")
        document = {
            "EndpointName": name,
            "EndpointArn": arn,
            "EndpointConfigName": configuration.name,
            "Variant": variant,
            "Served": {
                "model": str(model),
                "profile": measured.profile,
                "environment": variables,
            },
        }
        try:
            self._resources.add(KIND, name, document, ignores_case=True)
        except Taken as error:
            raise invalid(f'Cannot create already existing endpoint "{arn}".') from error
        keep_tags(self._resources, arn, request.get("Tags", ()))
        self._hosts.begin(name)
        return {"EndpointArn": arn}

    def describe(self, call: Call) -> dict[str, Any]:
        endpoint = self.find(call.given["EndpointName"])
        document, state = endpoint.document, self._hosts.state(endpoint.name)
        variant = document["Variant"]
        count, weight = variant.get("InitialInstanceCount", 1), variant.get("InitialVariantWeight", 1.0)
        return {
            "EndpointName": endpoint.name,
            "EndpointArn": document["EndpointArn"],
            "EndpointConfigName": document["EndpointConfigName"],
            "ProductionVariants": [
                {
                    "VariantName": variant["VariantName"],
                    "CurrentWeight": weight,
                    "DesiredWeight": weight,
                    "CurrentInstanceCount": count,
                    "DesiredInstanceCount": count,
                }
            ],
            "EndpointStatus": state.status,
            "FailureReason": state.reason,
            "CreationTime": endpoint.created,
            "LastModifiedTime": endpoint.modified,
        }

    def list(self, call: Call) -> dict[str, Any]:
        endpoints = self._resources.all(KIND)
        if (status := call.given.get("StatusEquals")) is not None:
            endpoints = tuple(endpoint for endpoint in endpoints if self._hosts.state(endpoint.name).status == status)
        orders = {"Status": lambda endpoint: self._hosts.state(endpoint.name).status}
        return listed(call, "ListEndpoints", endpoints, summary=self._summary, into="Endpoints", orders=orders)

    def update_weights(self, call: Call) -> dict[str, Any]:
        """Keep how many instances are wanted: one process serves, whatever that says."""
        endpoint = self.find(call.given["EndpointName"])
        asked = {desired["VariantName"]: desired for desired in call.given["DesiredWeightsAndCapacities"]}
        variant = dict(endpoint.document["Variant"])
        wanted = asked.get(variant["VariantName"])
        if wanted is None or len(asked) != 1:
            raise invalid(f"The variant of {endpoint.name} is {variant['VariantName']}.")
        variant["InitialInstanceCount"] = wanted.get("DesiredInstanceCount", variant.get("InitialInstanceCount", 1))
        variant["InitialVariantWeight"] = wanted.get("DesiredWeight", variant.get("InitialVariantWeight", 1.0))
        self._resources.change(KIND, endpoint.name, lambda before: {**before, "Variant": variant})
        return {"EndpointArn": endpoint.document["EndpointArn"]}

    def delete(self, call: Call) -> dict[str, Any]:
        endpoint = self.find(call.given["EndpointName"])
        self._hosts.end(endpoint.name)
        self._resources.remove(KIND, endpoint.name)
        return {}

    def find(self, name: str) -> Resource:
        """Return an endpoint. Raises ApiError."""
        try:
            return self._resources.get(KIND, name)
        except Missing as error:
            raise invalid(f'Could not find endpoint "{name}".') from error

    def served_by(self, name: str) -> Served:
        """Return what answers the requests to an endpoint. Raises ApiError, ValidationError, where nothing does."""
        try:
            endpoint = self._resources.get(KIND, name)
        except Missing as error:
            raise ApiError("ValidationError", f"Endpoint {name} of account not found.") from error
        state = self._hosts.state(name)
        if state.status != "InService" or state.port is None:
            raise ApiError("ValidationError", f"Endpoint {name} is not in service: it is {state.status}.")
        return Served(variant=Variant(name, endpoint.document["Variant"]["VariantName"]), port=state.port)

    def _summary(self, endpoint: Resource) -> dict[str, Any]:
        return {
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.document["EndpointArn"],
            "CreationTime": endpoint.created,
            "LastModifiedTime": endpoint.modified,
            "EndpointStatus": self._hosts.state(endpoint.name).status,
        }
