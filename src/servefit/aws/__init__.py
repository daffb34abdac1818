"""A server that answers boto3 and the SageMaker Python SDK as Amazon's services do, from this machine.

``wire`` has the protocols, ``http`` the server, ``services`` what each service answers, and ``state`` what is kept.
"""
