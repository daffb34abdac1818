"""The console script ``servefit``."""

from __future__ import annotations

import sys

from servefit.cli.status import INTERRUPTED


def main() -> None:
    """Run the command line. The subcommands are imported here, where Ctrl-C meanwhile is caught."""
    try:
        from servefit.cli.commands import app

        app(prog_name="servefit")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
