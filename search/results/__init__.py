"""The results of tests: trials, verdicts, rankings and recommendations.

``measure_trial`` makes one load test, which ``profiler.evidence.verdict`` holds to the SLA; ``objectives`` are the
figures that a goal asks for, ``pooled_trials`` puts all trials of a configuration together, ``ratios`` says how sure a
difference is, ``ranking`` and ``pareto`` choose. ``recommendation`` holds the answer.
"""
