"""The plan of a fleet: how many hosts of which class carry a rate at the least cost, also when some are lost.

``offer`` is what is known of a host class. ``mix`` finds the hosts of one model, by ``cheapest``, and makes a
``fleet_plan`` of them; ``rate_costs`` says what other rates would cost, with the best fleet of one class beside it.
``many_models`` plans several models. All of them solve the integer program in ``program``. ``losses`` says what is left
when hosts are lost, ``weights`` finds the whole numbers that a balancer is given, and ``balancers/`` write its
configuration.

Nothing here knows how rates were measured, where hosts are, or that there are a queue and a database.
"""
