"""The measuring slot: of all processes on a host, one measures at a time.

It is a lock on a file. Who measures takes it in ``holding``, and hands it down to the processes that do the measuring:
it is held for as long as any of them lives, whoever else was killed. ``place`` says which file it is, ``holder`` what
is known of who has it.
"""
