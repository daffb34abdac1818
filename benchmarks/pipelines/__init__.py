"""Pipelines of scikit-learn over a table of customers: the usual ones, and others drawn from a grammar."""
