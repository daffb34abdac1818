"""The backend ``forest``: a tree ensemble as flat arrays in one file, and a kernel in C that predicts with them.

``ensemble`` makes one form of all of Treelite's models. ``walks``, ``heaps`` and ``folds`` lay trees out for the ways
that the kernel takes through them, ``codes`` the bytes that it compares; ``choosing`` says which tree gets what,
``layout`` brings it together, ``finish`` adds what comes after the sums, and ``file_format`` is the file. ``artifact``
is what the rest of servefit sees. The kernel in ``kernel/`` is built with the package; docs/forest.md says how it
works.
"""
