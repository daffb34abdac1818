"""The figures of tests and recommendations: each is declared once, and every output reads the declaration.

``contract`` has the type; modules by subject declare servefit's own; ``registry`` finds all by name, and
``outside`` keeps those of other packages from breaking anything. Tables are made of them in ``report``, and JSON in
``jobs``, which also reads those of other packages whenever it reads a job, to warn of broken ones.
"""
