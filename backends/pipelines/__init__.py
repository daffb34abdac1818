"""Pipelines of scikit-learn taken apart: each step is computed by NumPy as scikit-learn computes it, and trees by the
forest. A step that is not known, or that differs here on hard rows, stays in scikit-learn.
"""
