"""The integer program that hands the hosts of a fleet to several models, each host to one or to two of them:
``problem`` is what is asked, ``programs`` are what HiGHS is given, and ``search`` makes an answer of theirs. All of it
runs in an isolated process."""
