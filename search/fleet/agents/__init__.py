"""The agent of a host: it waits for orders and has them carried out, one at a time."""
