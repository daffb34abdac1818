"""CloudWatch: the metrics of endpoints and of recommendation jobs, as far as servefit has measured them.

``metrics`` names them, ``load_tests``, ``endpoint_loads`` and ``endpoints`` have their samples as ``series``, of which
``statistics`` makes points. Sources of samples and GetMetricData are in ``metric_data``, the other operations in
``service``.
"""
