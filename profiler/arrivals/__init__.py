"""Arrivals, that is, when requests come: traffic shapes, each a file of its own, found by name.

``contract`` says what a shape is, ``registry`` finds one by its text ("sine:period=10s"), ``schedule`` draws arrival
times from it and checks them. What carries them out, and what is made of the answers, is on the floors above.
"""
