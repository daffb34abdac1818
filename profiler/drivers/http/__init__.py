"""The http driver: load clients outside the envelope send requests to a real endpoint and time its answers.

``clients`` is the parent's side and makes the same ``Run`` as the in-process driver. ``client`` is the child's: a loop
of events, with a module for each kind of traffic, ``closed_loop`` and ``open_loop``. They send through connections of a
``pool``, whose ``answers`` they read, and wait by a timer of the kernel. What is sent, and where to, is said in
``destination``, made of an ``address`` and ``bodies`` or JSON documents, or found out by ``detection`` with a few
``single_requests``. ``server_timing`` is what servers say of themselves, and ``messages`` is what the two sides tell
each other; what clients of a closed loop count lies in its ``closed_loop_memory``.

What is loaded is one of the ``servers``. Of an ``endpoint_driver``, which loads what is there already, ``resolution``
says whether it is this machine, and ``local_server`` what can be seen of it then.
"""
