"""Calls of the libraries that run models: what backends, the reference and the inspection of models share."""
