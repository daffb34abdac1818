"""The console script ``servefit``."""

from __future__ import annotations

import os
import sys
import time

from servefit.cli.status import INTERRUPTED


def main() -> None:
    """Run the command line. The subcommands are imported inside, so that Ctrl-C is caught meanwhile. The time at which
    the command began is in their context."""
    began_s = time.monotonic()
    if "_SERVEFIT_COMPLETE" in os.environ:
        # With rich typer folds long lines of help, and a shell would take the second half for a completion of its own.
        sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        from servefit.cli.terminal import prepare_output

        prepare_output()
        from servefit.cli.commands import app
        from servefit.cli.zsh_script import mend_zsh_script

        mend_zsh_script()
        app(prog_name="servefit", obj=began_s)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
