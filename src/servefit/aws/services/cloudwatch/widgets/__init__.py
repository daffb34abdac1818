"""Metric widgets: descriptions of pictures in JSON, as GetMetricWidgetImage takes them, and the pictures.

``widget`` reads a description, with ``lines``, ``annotations`` and ``times`` for its parts and ``widget_object`` for
values of JSON; ``picture`` draws.
"""
