"""One configuration -> a Measurement.

``host`` and ``profiles`` say what there is to measure on, ``envelope/`` makes a profile of it, ``traffic`` says what
requests arrive when, ``inprocess/`` runs workers and records raw samples, ``telemetry/`` watches them, ``summary``
turns samples into figures, and ``storage/`` keeps them. ``validity`` tells bad runs, ``sequential`` and
``highest_rate`` decide about limits, ``microbenchmark/`` times calls alone and ``comparing/`` compares in turns;
``noise/`` listens to the machine. Which configurations are worth measuring is the search's business.
"""
