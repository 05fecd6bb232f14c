"""Throw-away mail servers, keys and clients for tests, demo and benchmarks; not part of the product."""
