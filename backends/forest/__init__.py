"""The backend ``forest``: a tree ensemble as flat arrays in one file, and a kernel in C that predicts with them.

``ensemble`` makes one form of all of Treelite's models, ``walks`` and ``heaps`` lay its trees out for the two ways
that the kernel takes through them, ``artifact`` writes and opens the file, ``backend`` is what the rest of servefit
sees. The kernel in ``kernel/`` is built with the package; docs/forest.md says how it works.
"""
