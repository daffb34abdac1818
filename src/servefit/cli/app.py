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

_MENDED = (
    (
        "\ncompdef %(complete_func)s %(prog_name)s\n",
        # As a file the script is the body of a function of its name; in an eval it must register.
        """
if [ "$funcstack[1]" = "_%(prog_name)s" ]; then
  %(complete_func)s "$@"
else
  compdef %(complete_func)s %(prog_name)s
fi
""",
    ),
    # The first word if it is a path, which may begin with ~; an alias or a function cannot be started.
    ("=complete_zsh %(prog_name)s)", "=complete_zsh ${~${(M)words[1]:#*/*}:-%(prog_name)s})"),
)


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

        _mend_zsh_script()
        app(prog_name="servefit", obj=began_s)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        # At its end the interpreter would look at all objects again and again, for a fifth of a second.
        gc.freeze()


def _mend_zsh_script() -> None:
    """Correct typer's zsh script for --install-completion and --show-completion in this process.

    zsh loads the installed script at the first Tab, and typer's script only registers a function then, so that this
    Tab completes nothing. It also asks the ``servefit`` on the path even if another one is called by its path. Typer
    has no public place for a script: if it moves or changes its script, that stays as it is.
    """
    try:
        from typer._completion_shared import _completion_scripts as scripts
    except ImportError:
        return
    if "zsh" in scripts:
        for wrong, right in _MENDED:
            scripts["zsh"] = scripts["zsh"].replace(wrong, right)
