"""Models that are served by a script of their own, as SageMaker's framework containers run it: ``code/inference.py``.

``functions`` imports the script and finds its functions, ``defaults`` has those that it may leave out, ``answering``
answers one request, and ``predictor`` has the libraries that the script loaded use so many threads. The script is
imported in child processes and workers alone, and only where somebody said to trust it.
"""
