"""Host classes: hosts that are alike in what they are and in how long the same work takes, so that one stands for all.

``host_facts`` reads what a host is, ``calibration`` times it, and ``grouping`` makes classes of that.
"""
