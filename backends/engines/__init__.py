"""The backends that run models with a library, a module each; ``finding.registry`` lists them."""
