"""Corrections of the completion script that typer has for zsh, in which two things go wrong.

zsh loads the installed script at the first Tab. Typer's script only registers a function then, so that this Tab
completes nothing. And it asks the ``servefit`` on the path, also where another one is called by its path.
"""

from __future__ import annotations

_MENDED = (
    (
        "\ncompdef %(complete_func)s %(prog_name)s\n",
        # The file is the body of a function named after it. In an eval it is not, and has to register.
        """
if [ "$funcstack[1]" = "_%(prog_name)s" ]; then
  %(complete_func)s "$@"
else
  compdef %(complete_func)s %(prog_name)s
fi
""",
    ),
    # The first word where it is a path, which may begin with ~; an alias or a function is nothing to start.
    ("=complete_zsh %(prog_name)s)", "=complete_zsh ${~${(M)words[1]:#*/*}:-%(prog_name)s})"),
)


def mend_zsh_script() -> None:
    """Let --install-completion and --show-completion give a corrected script, in this process.

    Typer has no public place for a script. Where it has it elsewhere, or words it differently, its own is left.
    """
    try:
        from typer._completion_shared import _completion_scripts as scripts
    except ImportError:
        return
    if "zsh" in scripts:
        for wrong, right in _MENDED:
            scripts["zsh"] = scripts["zsh"].replace(wrong, right)
