"""Hosts that are imitated on this machine: agents whose backend takes as long as that of a slower or a faster host would.

``imitated_backend`` is what they have installed, and ``agents`` starts them.
"""
