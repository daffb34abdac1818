"""Measurements kept so that a later reader can recompute every printed figure, and histograms for other tools."""
