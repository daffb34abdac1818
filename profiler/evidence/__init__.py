"""From what was recorded to figures and verdicts: pure functions of runs.

``summary`` has the figures, ``validity`` says whether a run measured what it was meant to, ``sequential_test`` and
``rate_fit`` decide about limits, ``stopping`` about the end of traffic in phases, ``comparing/`` about differences.
Nothing here starts a process; who measures is in ``drivers`` and ``procedures``.
"""
