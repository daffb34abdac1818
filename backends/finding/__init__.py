"""Finds backends by name, and asks them what they can do. Those of other packages answer from a child process."""
