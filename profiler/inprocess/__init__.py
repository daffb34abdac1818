"""The in-process driver: workers claim arrivals from one queue in shared memory and call the predictor themselves.

There is no client and no network, so what is measured is the model. ``workers`` is the parent's side, ``worker`` and
``serving`` the child's, ``arrivals`` the queue between them and ``messages`` what they tell each other.
"""
