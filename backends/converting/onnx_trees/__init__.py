"""Converts tree ensembles to ONNX so that every float32 row takes the same path as in the library that grew them.

``flat`` lays the trees out as arrays, and ``graph`` makes an ONNX model of those. The general converters are not used
because they are silently wrong on many objectives, round thresholds across inputs, and lose small probabilities.
"""

from servefit.backends.converting.onnx_trees.graph import INPUT, OUTPUT, onnx_model

__all__ = ["INPUT", "OUTPUT", "onnx_model"]
