"""The capacity of one instance: ``instance_rate`` within the limits, ``latency_curve`` against the rate, and
``what_if`` nothing meets the SLA."""
