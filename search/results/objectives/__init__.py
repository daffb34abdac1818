"""The objectives of jobs: one file each, found by name.

``contract`` has their base class, and ``registry`` finds one, also in another package. ``guarded`` checks what
objectives of other packages return; ``score`` has the scores that are compared in the end. ``performance``
is the kind that follows from capacity and latency alone, which four of the five are.
"""
