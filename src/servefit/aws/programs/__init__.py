"""Programs whose AWS is this machine, as ``servefit api run`` starts them.

``server`` finds a server for them or starts one, ``use`` keeps that as long as one of them needs it, ``program`` starts
them, and ``startup`` is the folder with what their Pythons run first.
"""
