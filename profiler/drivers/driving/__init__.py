"""The parts that both drivers share: child processes that carry out a run, and memory that they and their parent see.

``entering`` takes a process into an envelope, ``worker`` begins a child, ``setup`` is what it is handed, and
``processes`` and ``output`` are the parent's side of it. ``memory`` is shared by all, the ``schedule`` of an open loop
lies in it, ``waiting`` is how a child waits for the next arrival. ``ending`` ends a run before its time, by what
children tell of their ``progress``. What is done in a run is the business of the drivers: ``inprocess`` and ``http``.
"""
