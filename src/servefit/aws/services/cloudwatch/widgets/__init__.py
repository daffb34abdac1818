"""Metric widgets: descriptions of pictures in JSON, as GetMetricWidgetImage takes them, and the pictures.

``widget`` reads a description, with ``lines`` for its lines and ``widget_object`` for values of JSON; ``picture``
draws.
"""
