"""The processes of endpoints: ``servefit serve``, one for each."""
