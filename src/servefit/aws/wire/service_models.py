"""botocore's descriptions of AWS's services: their operations, and the shapes of what these take and give.

They are moto's reading of them, which botocore's own are part of, since moto writes answers by it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moto.core.model import OperationModel, ServiceModel


@cache
def service_model(name: str) -> ServiceModel:
    """Return the description of a service by botocore's name for it, such as "sagemaker-runtime"."""
    from botocore.loaders import Loader
    from moto.core.model import ServiceModel

    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


def operation_model(service: str, operation: str) -> OperationModel | None:
    """Return the description of an operation, None where the service has none of that name."""
    model = service_model(service)
    return model.operation_model(operation) if operation in model.operation_names else None
