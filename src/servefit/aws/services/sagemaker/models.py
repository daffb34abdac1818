"""Models: what a container is to serve, and from where. Nothing is read when one is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from servefit.aws.services.pages import listed
from servefit.aws.services.sagemaker.tags import keep_tags
from servefit.aws.state.resources import Missing, Taken
from servefit.aws.wire.errors import invalid

if TYPE_CHECKING:
    from servefit.aws.services.call import Call, Operations
    from servefit.aws.state.resources import Resource, Resources

KIND = "model"


class Models:
    """The operations on models."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @property
    def operations(self) -> Operations:
        return {
            "CreateModel": self.create,
            "DescribeModel": self.describe,
            "ListModels": self.list,
            "DeleteModel": self.delete,
        }

    def create(self, call: Call) -> dict[str, Any]:
        request = call.given
        if ("PrimaryContainer" in request) == ("Containers" in request):
            raise invalid("Exactly one of PrimaryContainer and Containers must be given.")
        if len(request.get("Containers", [None])) != 1:
            raise invalid("Containers must be one: models in a pipeline are not served here.")
        name = request["ModelName"]
        arn = call.arn(f"model/{name.lower()}")
        document = {key: value for key, value in request.items() if key != "Tags"}
        try:
            self._resources.add(KIND, name, {**document, "ModelArn": arn}, ignores_case=True)
        except Taken as error:
            raise invalid(f'Cannot create already existing model "{arn}".') from error
        keep_tags(self._resources, arn, request.get("Tags", ()))
        return {"ModelArn": arn}

    def describe(self, call: Call) -> Mapping[str, Any]:
        model = self.find(call.given["ModelName"])
        return {**model.document, "CreationTime": model.created, "EnableNetworkIsolation": False}

    def list(self, call: Call) -> dict[str, Any]:
        return listed(call, "ListModels", self._resources.all(KIND), summary=_summary, into="Models")

    def delete(self, call: Call) -> dict[str, Any]:
        name = call.given["ModelName"]
        self.find(name)
        self._resources.remove(KIND, name)
        return {}

    def find(self, name: str) -> Resource:
        """Return a model. Raises ApiError."""
        try:
            return self._resources.get(KIND, name)
        except Missing as error:
            raise invalid(f'Could not find model "{name}".') from error


def container_of(model: Resource) -> Mapping[str, Any]:
    """Return the one container of a model."""
    document = model.document
    container: Mapping[str, Any] = document.get("PrimaryContainer") or document["Containers"][0]
    return container


def _summary(model: Resource) -> dict[str, Any]:
    return {"ModelName": model.name, "ModelArn": model.document["ModelArn"], "CreationTime": model.created}
