"""``servefit schema``: what a file for ``--config`` may say, for editors that check while one types."""

from __future__ import annotations

import json

from servefit.cli.output import say


def schema() -> None:
    """Print the JSON Schema of the files that servefit recommend --config reads.

    Example: servefit schema > job.schema.json
    """
    from servefit.search.request.config_schema import config_schema

    say(json.dumps(config_schema(), indent=2))
