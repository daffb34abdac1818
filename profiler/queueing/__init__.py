"""The queue of requests for workers that call a predictor, computed and not measured.

``discipline`` says how requests queue, ``service`` how long calls take, and ``open_loop`` serves arrivals by both, as
the in-process driver does. The queues of users and of endpoints are in ``search.simulation``.
"""
