"""The panels of options in the help of commands, one for each subject, in the order in which they appear.

The options of a job are declared in ``search`` and the others in ``cli``. The module imports nothing: ``servefit
--help`` imports it.
"""

from __future__ import annotations

TRAFFIC, SEARCH, MACHINE, OUTPUT = "Traffic", "Search", "Machine", "Output"

PANELS = (TRAFFIC, SEARCH, MACHINE, OUTPUT)
