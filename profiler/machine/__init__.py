"""The host: what it is, and how it is held still.

``host``, ``topology``, ``cgroups`` and ``gpu`` describe it, ``profiles`` are the instances that it can be, ``cpus`` and
``envelope/`` make it one, ``telemetry/`` watches it, and ``slot/`` lets one measurement at a time have it.
"""
