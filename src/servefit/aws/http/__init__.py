"""The server: an ASGI application on uvicorn. ``application`` brings requests to services and answers back, and
``server`` has the limits of heads, connections and time."""
