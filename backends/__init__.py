"""A trained model -> an artifact -> a predictor.

``model/`` opens models, ``payload/`` reads sample payloads, ``compilation`` drives a backend to a checked artifact,
``registry`` finds backends by name, and each other module is one backend. Nothing here measures time.
"""
