"""The interface for Python users: jobs that show, report and serve themselves, and the functions that make them.

The layers below return plain results. ``job`` adds the methods that a person calls.
"""
