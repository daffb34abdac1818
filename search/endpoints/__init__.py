"""Load on an endpoint that runs already, whosever it is: ``load`` does it, step by step of a ``load_plan``, and gives a
``load_result``."""
