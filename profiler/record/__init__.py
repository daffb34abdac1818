"""The record of a measurement, and how it is kept: raw facts, and no statistics.

``traffic`` says when requests arrive, ``types`` what a run of it recorded, ``endpoint_runs`` the same of an
endpoint that is not ours; ``storage/`` keeps them in files. What they mean is in ``evidence``.
"""
