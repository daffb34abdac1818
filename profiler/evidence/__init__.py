"""From what was recorded to figures and verdicts: pure functions of runs.

``summary`` has the figures, ``validity`` says whether a run measured what it was meant to, ``sequential_test`` and
``rate_fit`` decide about limits, ``run_verdict`` about those of a whole run, ``time_to_spare`` tells how busy workers
were, ``stopping`` about the end of traffic in phases; ``intervals`` has the statistics of a few values. Nothing here
measures or starts a process: that is in ``drivers`` and ``procedures``. ``hdr_export`` alone writes files, under names
that its caller gives.
"""
