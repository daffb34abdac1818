"""The arrivals of requests: traffic shapes, each a file of its own, found by name.

``contract`` has their base class, ``registry`` finds one by its text ("sine:period=10s"), ``schedule`` draws arrival
times from it and checks them. They are carried out, and answers are judged, on the floors above.
"""
