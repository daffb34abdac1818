"""A trained model -> an artifact -> a predictor.

``compilation`` drives a backend to a checked artifact. ``types`` is the contract of backends, ``engines`` and
``forest`` are the built-in ones, and ``finding`` finds all by name. ``model`` and ``inspection`` open models,
``payload`` reads sample payloads, and ``checking`` compares predictions. Nothing here measures time.
"""
