"""One configuration -> a Measurement.

``host`` and ``profiles`` say what there is to measure on, ``traffic`` what requests arrive when, ``inprocess/`` runs
workers and records raw samples, ``telemetry`` watches them, and ``summary`` turns samples into figures. Which
configurations are worth measuring is the search's business.
"""
