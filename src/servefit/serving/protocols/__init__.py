"""The protocols of an endpoint: pure functions from a whole request to rows, and back.

``sagemaker`` is the container contract of SageMaker (/invocations), in the formats of ``csv_rows``, ``json_rows`` and
``npy_rows``; ``open_inference`` is the Open Inference Protocol, version 2, with ``tensors`` for its inputs and
``metadata`` for all that it asks beside predictions. Nothing here reads a socket or a clock.
"""
