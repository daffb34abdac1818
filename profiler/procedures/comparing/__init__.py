"""Paired comparison in randomised ABBA blocks: is one thing faster than another, or did it only seem to be?

``comparison`` carries it out, and ``noise_floor`` says what this host can tell apart, with ``kernel`` as the work that
it times. The statistics are in ``evidence.intervals``.
"""
