"""Load on an endpoint from several clients of a fleet, which begin together, and whose figures are merged."""
