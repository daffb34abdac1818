"""Many configurations -> a recommendation.

Floors, each of which knows only those below it: ``autoscaling/``, ``deployment/`` and ``endpoints/`` are beside each
other on top, and use ``jobs/``, which carry out what ``optimizer/`` decides. ``capacity/`` says what one instance can
take, ``storage/`` keeps the steps of a job, ``results/`` are what tests showed, ``queueing/`` simulates, and
``request/`` is what was asked. How a single configuration is measured is the profiler's business.
"""
