"""Converts models to ONNX where backends do not take them as they are, and finds out which can be converted."""
