"""How many instances a rate takes, and the policy that adds and removes them: ``scale`` makes the ``plan``, and what to
know of it is in ``notes``."""
