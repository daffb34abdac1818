"""Recommendation jobs behind the API: each is a job of servefit, carried out by a process of its own.

``plan`` makes a servefit request of one of AWS, ``process`` carries it out, ``queue`` has one at a time carried out,
``files`` keeps what they write, and ``journal`` is what is told of a job line by line.
"""
