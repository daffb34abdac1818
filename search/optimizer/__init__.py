"""The choice of what is measured next, and of when it is enough.

``search`` is the whole of it, on a ``bench`` that measures; what it knows is its ``search_state``.
``service_time_survey`` has calls timed as ``call_timing`` does, ``predictions`` and ``gaussian_process`` foretell the
rest, ``expected_improvement``, ``proposer`` and ``parzen`` choose the next test, ``finalists`` those that are measured
in ``turns``, and ``importance`` says why the winner won. ``clock``, ``pace`` and ``time_left`` keep to the time.
Nothing here starts a process or writes to a database.
"""
