"""Configuration files of load balancers: ``nginx``, ``haproxy`` and ``envoy`` write one each for the ``servers`` that
they are given, and ``kinds`` says which there are."""
