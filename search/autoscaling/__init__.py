"""The instances that a rate takes, and the policy that adds and removes them: ``scale`` makes the ``plan``, and
``notes`` say what to know of it."""
