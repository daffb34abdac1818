"""The in-process driver: workers take requests from one queue in shared memory and call the predictor themselves.

There is no client and no network, so what is measured is the model. ``workers`` is the parent's side, ``serving`` the
child's, with a loop each in ``open_loop`` and ``closed_loop``, whose queues are ``driving.schedule`` and ``users``.
``messages`` is what the two sides tell each other. What other drivers have too is in ``driving``.
"""
