"""The queueing simulation: the figures of a configuration, foretold from service times that were measured.

``closed_loop`` is the queue of the in-process driver's users, ``endpoint`` that of an endpoint, ``simulated_run``
carries out a traffic, and ``prediction`` has the figures that a search asks for. How workers serve arrivals is in
``profiler.queueing``. Nothing is measured here.
"""
