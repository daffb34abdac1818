"""Hosts that are imitated on this machine: agents whose backend takes as long as that of another host would.

``imitated_backend`` is what they have installed, and ``agents`` starts them.
"""
