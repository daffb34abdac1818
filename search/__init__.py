"""Many configurations -> a recommendation.

Floors, each of which knows only those below it: ``autoscaling/``, ``deployment/``, ``endpoints/`` and ``fleet/`` are
beside each other on top, and use ``jobs/``, which carry out what ``optimizer/`` decides. ``figures/`` declares what
tables show, ``capacity/`` says what one instance can take, ``storage/`` keeps the steps of a job, ``results/`` are what
tests showed, ``simulation/`` simulates, and ``request/`` is what was asked. ``fleet/``, jobs on several hosts, is an
annex: nothing else here knows it. How a single configuration is measured is the profiler's business.
"""
