"""Procedures, which ask drivers for runs to answer a question: one measurement, the highest rate, a comparison.

``prepare`` compiles, ``profile`` measures a configuration, ``highest_rate`` and ``saturation`` look for the most that
it can do, ``compare_deployments`` takes turns, in the blocks of ``comparing/``, ``microbenchmark/`` times calls alone,
``noise/`` listens to the machine beforehand. ``decided_runs`` repeats what the machine disturbed. ``target_endpoint``
and ``load_clients`` prepare for an endpoint that runs already.
"""
