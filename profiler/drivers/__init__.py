"""Ways to carry out a run: ``inprocess/`` calls the predictor in workers, ``http/`` loads an endpoint.

``driver`` is what both promise, ``start_driver`` starts the one that is asked for, ``hosted_endpoint`` is an endpoint
inside an envelope, and ``driving/`` what their processes share. A driver takes the times of arrivals, and decides
nothing.
"""
