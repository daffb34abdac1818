"""The integer program that hands the hosts of a fleet to several models, each host to one: ``problem`` is what is
asked, ``programs`` are what HiGHS is given, and ``search`` makes an answer of theirs. All runs in an isolated
process."""
