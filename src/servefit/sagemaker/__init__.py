"""servefit in the words of the SageMaker Python SDK: a notebook moves over.

``right_size`` takes the SDK's parameters, and ``CategoricalParameter``, ``ModelLatencyThreshold``, ``Phase`` and
``Stairs`` are its shapes. What they mean here is in :func:`servefit.recommend`'s own words.
"""

from servefit.sagemaker.sdk_types import CategoricalParameter, ModelLatencyThreshold, Phase, Stairs
from servefit.sagemaker.sizing import right_size

__all__ = ["CategoricalParameter", "ModelLatencyThreshold", "Phase", "Stairs", "right_size"]
