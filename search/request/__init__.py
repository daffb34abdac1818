"""Requests: the options of a job or of a load, validated once.

``job_request`` and ``load_request`` hold them, ``sla`` has the limits, ``space`` the configurations that follow
from them; ``config_file`` reads the same from YAML, of the form that ``config_schema`` describes.
"""
