"""What both drivers are made of: child processes that carry out a run, and what they share with their parent meanwhile.

``entering`` takes a process into an envelope, ``worker`` is how a child begins, ``setup`` what it is handed, and
``processes`` and ``output`` are the parent's side of it. ``memory`` is shared by all, the ``schedule`` of an open loop
lies in it, ``waiting`` is how a child waits for the next arrival. ``ending`` ends a run before its time, by what
children tell of their ``progress``. What is done in a run is the business of the drivers: ``inprocess`` and ``http``.
"""
