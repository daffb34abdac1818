"""AWS's protocols: which operation a request is for, what it says, and how answers and errors are written. Nothing here
knows what an operation does."""
