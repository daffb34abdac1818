"""Many configurations -> a recommendation.

``request`` is what was asked for, ``space`` what may be tried, ``study`` the order in which Optuna tries it,
``testing`` one try, ``verdict`` and ``ranking`` what to make of the results, and ``job`` runs it all. How a single
configuration is measured is the profiler's business.
"""
