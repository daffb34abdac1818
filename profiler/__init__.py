"""One configuration -> a Measurement.

Floors, each of which knows only those below it: ``procedures/`` answer a question by measuring, with ``drivers/`` that
carry out runs and ``evidence/`` that makes figures and verdicts of them. ``record/`` is what a run recorded, and
``machine/`` the host that it ran on. Which configurations are worth measuring is the search's business.
"""
