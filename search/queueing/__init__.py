"""The queueing simulation: the figures of a configuration, foretold from service times that were measured.

``service`` holds the times that calls take, ``discipline`` how requests queue, ``open_loop`` and ``closed_loop`` are
the queues of the in-process driver, ``simulation`` carries out a traffic, and ``prediction`` has the figures that a
search asks for. Nothing is measured here.
"""
