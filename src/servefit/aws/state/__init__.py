"""What the server keeps: resources by kind and name, and the one server that a folder has."""
