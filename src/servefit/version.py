"""The version of this package, for whoever only tells it."""

__version__ = "0.1.0"
