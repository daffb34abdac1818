"""Environment variables of the processes that load models: those that others may set, and secret ones."""
