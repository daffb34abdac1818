"""Messages between an agent and its starter, beside the command line. The tether imports it: it imports nothing."""

from __future__ import annotations

STORAGE_VARIABLE = "SERVEFIT_STORAGE"
"""The environment variable in which an agent finds the URL of the database."""

READY = "agent {name} takes orders"
"""Begins what an agent says on stdout once it has its name and can be asked."""
