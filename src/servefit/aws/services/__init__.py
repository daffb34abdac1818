"""The services: each has operations by name, which take a call and return what the service model says, or raise
ApiError."""
