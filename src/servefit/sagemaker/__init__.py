"""servefit with the names of the SageMaker Python SDK, so that a notebook needs few changes.

``right_size`` takes the SDK's parameters, and ``CategoricalParameter``, ``ModelLatencyThreshold``, ``Phase`` and
``Stairs`` are types like the SDK's. :func:`servefit.recommend` does the same with servefit's own names. ``Client`` and
``session`` answer code of boto3 and of the SDK itself.
"""

from servefit.sagemaker.client import Client, session
from servefit.sagemaker.sdk_types import CategoricalParameter, ModelLatencyThreshold, Phase, Stairs
from servefit.sagemaker.sizing import right_size

__all__ = ["CategoricalParameter", "Client", "ModelLatencyThreshold", "Phase", "Stairs", "right_size", "session"]
