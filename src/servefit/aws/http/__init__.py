"""The server: an ASGI application on uvicorn. ``application`` brings requests to services and answers back."""
