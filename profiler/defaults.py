"""Defaults that several procedures and commands share.

Each stands here alone. The module imports nothing, so that the help of a command can name a default without importing
what measures.
"""

from __future__ import annotations

ARRIVALS = "poisson"
"""The shape of open loops: the arrivals of many independent senders."""

ROWS_PER_REQUEST = 1
SEED = 0

DURATION_S = 5.0
SEARCH_S = 30.0
"""Seconds of one measurement, and of the search for the highest rate. Chosen: short enough to be waited for; a
percentile or a verdict that takes more says so."""

SATURATION_S = 20.0
"""Seconds that the search for the most requests takes at most. Most such searches are over before. Chosen, not
measured."""

COMPARISON_S = 60.0
"""Seconds of a comparison: time for the fewest measurements, a second each and as long to start, and for some blocks
more. Chosen."""

MIN_COMPILING_S = 90.0
"""Seconds that compiling a model and checking its predictions may take at least, where nobody gives a budget. Chosen:
several times what a small model takes on a busy machine."""

MARGIN = 0.02
"""A comparison calls what differs by less no difference: few people change a deployment for 2 %. Chosen."""

TIMEOUT_S = 10.0
"""Seconds that an answer of an endpoint is waited for. Chosen, not measured."""

MAX_CONNECTIONS = 256
"""Connections of an open loop at most: as many as the requests that an endpoint of servefit lets wait. A request that
waits for a connection counts from when it was due."""
