"""``servefit schema``: the JSON Schema of files for ``--config``, for editors that check while somebody types."""

from __future__ import annotations

import json

from servefit.cli.output import print_text


def schema() -> None:
    """Print the JSON Schema of the files that servefit recommend --config reads.

    Example: servefit schema > job.schema.json
    """
    from servefit.search.request.config_schema import config_schema

    print_text(json.dumps(config_schema(), indent=2) + "\n")
