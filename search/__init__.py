"""Many configurations -> a recommendation.

``request`` is what was asked for and ``space`` what may be tried. ``searching`` decides what is measured: ``survey``
has calls timed alone, ``queueing`` predicts from them, ``forecast`` and ``outlook`` correct that by what was measured,
``proposing`` says what to measure next, ``finalists`` what to measure in turns. ``testing`` is one load test and
``verdict`` what it means for the SLA; ``standing``, ``ranking``, ``pareto`` and ``explaining`` make an answer of them.
``work`` carries a search out on real workers and keeps it in ``storage``; ``job`` is what is kept, read back. How a
single configuration is measured is the profiler's business.
"""
