"""The microbenchmark: how long a call of a predictor takes when nothing waits.

``service_time`` starts fresh processes and makes figures of what they recorded. The worker's side of it is in
``drivers.inprocess.timing``; when a series of times has settled is decided in ``drivers.inprocess.steady_state``.
"""
