"""What is asked of a job, validated once.

``job_request`` and ``load_request`` are what may be asked, ``sla`` the limits, ``space`` the configurations that follow
from them; ``config_file`` reads the same from YAML, of the form that ``config_schema`` describes.
"""
