"""Texts for what starts agents in place of SSH: a unit of systemd, a script for SLURM, and manifests for Kubernetes.

None has the URL of the database in it. It stands in a file that is its owner's alone, ``agent.env``, or in a Secret.
"""
