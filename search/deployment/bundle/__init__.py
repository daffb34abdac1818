"""A folder that serves one model on any machine with Python: the artifact, the model, what it takes to run them, and
how it is started by hand, by systemd, by Docker and by Kubernetes.

``writing`` puts it together out of the parts that the other modules know how to write. It is given by
``deployable``, and it is ``servefit.serving`` that runs in the end.
"""
