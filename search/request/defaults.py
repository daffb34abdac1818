"""The limits of a job that gives none. The module imports nothing, so that the help of a command can name them."""

from __future__ import annotations

BUDGET_S = 42.0
"""Seconds of a job that gives neither a budget nor its own phases: an answer within a minute."""

TESTS_WITH_PHASES = 10
"""Tests of a job whose phases fix how long each takes, as in SageMaker IR."""
