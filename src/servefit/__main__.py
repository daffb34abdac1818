"""``python -m servefit`` is the ``servefit`` command."""

from servefit.cli.app import main

main()
