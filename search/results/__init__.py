"""What tests showed, and what follows from them.

``measure_trial`` makes one load test and ``verdict`` holds it to the SLA; ``objectives`` are the figures that a goal
asks for, ``standings`` says how sure a difference is, ``ranking`` and ``pareto`` choose. ``recommendation`` holds the
answer.
"""
