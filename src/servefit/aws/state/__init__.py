"""The server's state: resources by kind and name, and the one server that a folder has."""
