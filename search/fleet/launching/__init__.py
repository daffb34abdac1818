"""The starting of agents with what a site has: OpenSSH here, and manifests for systemd, SLURM and Kubernetes.

Launching is not dispatching: which host measures what is decided by the queue. An agent that appears is used, however
it was started.
"""
