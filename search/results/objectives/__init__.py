"""What a job may be about: one file an objective, found by name.

``contract`` says what an objective is, and ``registry`` finds one, also in another package. ``guarded`` asks one for
its figures and lets none pass that cannot be ranked; ``score`` is what is compared in the end. ``performance`` is the
kind that follows from capacity and latency alone, which four of the five are.
"""
