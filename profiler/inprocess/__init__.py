"""The in-process driver: workers take requests from one queue in shared memory and call the predictor themselves.

There is no client and no network, so what is measured is the model. ``workers``, ``processes`` and ``ending`` are the
parent's side, ``worker`` and ``serving`` the child's, with a loop each in ``open_loop`` and ``closed_loop``.
``schedule`` and ``users`` are the queues of these two, in ``memory`` that all share, and ``messages`` is what is said
beside that.
"""
