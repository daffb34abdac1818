"""What a Python user holds: jobs that show, report and serve themselves, and the functions that make them.

The layers below give plain results. ``job`` adds what a person does with them.
"""
