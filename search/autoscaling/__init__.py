"""How many instances a rate takes, and the policy that adds and removes them: ``plan``, its ``notes`` and its JSON
``document``."""
