"""The endpoint: one artifact, served over HTTP by worker processes.

``python -m servefit.serving endpoint.json`` is all of it, inside an envelope or not: ``supervisor`` listens and hands
each connection to a ``worker``, whose ``connection`` speaks HTTP, whose ``endpoint`` knows what is asked, in one of the
``protocols``, and whose ``batching`` calls the predictor. What runs is described in ``config``. Who puts an endpoint
into an envelope, and who loads it, is the business of the layers above.
"""
