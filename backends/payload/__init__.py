"""Sample payloads: the rows that requests are made of.

``reading`` turns files of several formats into rows; ``synthetic`` draws rows from the model where there is no file.
"""

from servefit.backends.payload.types import Payload, UsedSizes

__all__ = ["Payload", "UsedSizes"]
