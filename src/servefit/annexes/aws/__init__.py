"""``servefit api`` and ``servefit api run``. ``aws`` has the server."""
