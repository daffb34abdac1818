"""Compiled artifacts on disk, which ``compilation`` stores and finds again."""
