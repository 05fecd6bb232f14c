"""Measurements: run by `make bench`, one module each."""
