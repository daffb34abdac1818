"""Jobs on several hosts, for people: ``servefit agent`` and ``servefit fleet``, and what other commands do with
``--fleet``, ``--from`` and ``--balancer``. ``search.fleet`` has what they use."""
