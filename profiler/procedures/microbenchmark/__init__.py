"""The microbenchmark: how long one call of a predictor takes when nothing waits.

``timing`` is the worker's side, ``steady_state`` decides when a series of times has settled, ``service_time`` starts
fresh processes and makes figures of what they recorded.
"""
