"""What one instance can take: ``instance_rate`` within the limits, ``latency_curve`` against the rate, and ``what_if``
nothing meets the SLA."""
