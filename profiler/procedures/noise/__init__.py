"""The noise of this machine: what about it would spoil a measurement, before one is made.

``preflight`` is all of it: ``tuning`` reads what is set, at once, ``activity`` watches what goes on, for half a second,
and ``findings`` says of both, and of an A/A run (``procedures.comparing.noise_floor``), what a person should know and
what to do about it. Whether a finished run was spoilt is decided in ``evidence.validity``.
"""
