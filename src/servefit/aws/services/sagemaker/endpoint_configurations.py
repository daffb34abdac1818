"""Endpoint configurations: which models an endpoint serves, and on which instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servefit.aws.services.pages import listed
from servefit.aws.services.sagemaker.tags import keep_tags
from servefit.aws.state.resources import Missing, Taken
from servefit.aws.wire.errors import invalid

if TYPE_CHECKING:
    from servefit.aws.services.call import Call, Operations
    from servefit.aws.services.sagemaker.models import Models
    from servefit.aws.state.resources import Resource, Resources

KIND = "endpoint-config"


class EndpointConfigurations:
    """The operations on endpoint configurations."""

    def __init__(self, resources: Resources, models: Models) -> None:
        self._resources = resources
        self._models = models

    @property
    def operations(self) -> Operations:
        return {
            "CreateEndpointConfig": self.create,
            "DescribeEndpointConfig": self.describe,
            "ListEndpointConfigs": self.list,
            "DeleteEndpointConfig": self.delete,
        }

    def create(self, call: Call) -> dict[str, Any]:
        request = call.given
        name, variants = request["EndpointConfigName"], request["ProductionVariants"]
        if len(variants) != 1:
            raise invalid("ProductionVariants must be one: an endpoint serves one model here.")
        for asked in ("ModelName", "InstanceType"):
            if asked not in variants[0]:
                raise invalid(f"{asked} must be given in each production variant.")
        self._models.find(variants[0]["ModelName"])
        arn = call.arn(f"{KIND}/{name.lower()}")
        document = {key: value for key, value in request.items() if key != "Tags"}
        try:
            self._resources.add(KIND, name, {**document, "EndpointConfigArn": arn}, ignores_case=True)
        except Taken as error:
            raise invalid(f'Cannot create already existing endpoint configuration "{arn}".') from error
        keep_tags(self._resources, arn, request.get("Tags", ()))
        return {"EndpointConfigArn": arn}

    def describe(self, call: Call) -> dict[str, Any]:
        configuration = self.find(call.given["EndpointConfigName"])
        return {**configuration.document, "CreationTime": configuration.created}

    def list(self, call: Call) -> dict[str, Any]:
        return listed(call, "ListEndpointConfigs", self._resources.all(KIND), summary=_summary, into="EndpointConfigs")

    def delete(self, call: Call) -> dict[str, Any]:
        configuration = self.find(call.given["EndpointConfigName"])
        self._resources.remove(KIND, configuration.name)
        return {}

    def find(self, name: str) -> Resource:
        """Return a configuration. Raises ApiError."""
        try:
            return self._resources.get(KIND, name)
        except Missing as error:
            raise invalid(f'Could not find endpoint configuration "{name}".') from error


def _summary(configuration: Resource) -> dict[str, Any]:
    return {
        "EndpointConfigName": configuration.name,
        "EndpointConfigArn": configuration.document["EndpointConfigArn"],
        "CreationTime": configuration.created,
    }
