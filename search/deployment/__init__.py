"""A recommendation as something that runs: ``deployable`` compiles it, ``served`` runs it on this host, and ``bundle/``
writes what other machines need."""
