"""The console script ``servefit``."""

from __future__ import annotations

import gc
import os
import sys
import time

from servefit.cli.status import INTERRUPTED
from servefit.processes import own_age_s

_MAX_START_CPU_S = 1.0
"""CPU seconds that an interpreter takes to come here, and more: a process that used more did something else before."""


def main() -> None:
    """Run the command line. The subcommands are imported inside, so that Ctrl-C is caught meanwhile. The time at which
    the command began is in their context: that of its process, which on a busy machine takes a while to come here."""
    began_s = time.monotonic() - (own_age_s() if time.process_time() < _MAX_START_CPU_S else 0.0)
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
    finally:
        # At its end the interpreter would look at all objects again and again, for a fifth of a second.
        gc.freeze()
