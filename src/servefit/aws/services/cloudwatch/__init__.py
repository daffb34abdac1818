"""CloudWatch: the metrics of endpoints and of recommendation jobs, as far as servefit has measured them.

``metrics`` names them, ``load_tests`` and ``endpoints`` have their samples, and ``points`` makes points of these. The
operations are in ``metric_statistics``, ``metric_data``, ``metric_list`` and ``widget_image``.
"""
