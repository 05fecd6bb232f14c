"""Counters and gauges for monitoring, in the form that Prometheus reads."""
