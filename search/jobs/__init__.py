"""Jobs: a search carried out on real workers, every step of it kept.

``lifecycle`` begins, resumes, reads and stops them, ``runner`` does the work with ``compile_candidates``, ``tasks``,
``deployments``, ``cpu_slots``, ``warm_start`` and ``closing``; ``job`` is what is kept, read back, and ``document`` its
JSON.
"""
