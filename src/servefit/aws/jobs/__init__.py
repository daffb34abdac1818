"""Recommendation jobs behind the API: each is a job of servefit, carried out by a process of its own.

``plan`` makes a servefit request of one of AWS, ``process`` carries it out, and ``endpoint_load`` its part on an
endpoint that is there already. ``survey`` is what is measured of a model that no job was about. ``queue`` has one at a
time carried out, in the order of ``turns``, each by a ``child`` of the server. ``files`` keeps what they write, and
``journal`` is what is told of a job line by line.
"""
