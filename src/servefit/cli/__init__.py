"""The command line: one module a command, ``output`` for what goes to stdout, ``progress`` for what goes to stderr."""
