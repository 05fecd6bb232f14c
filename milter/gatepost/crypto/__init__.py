"""Cryptography: one module per library that it wraps."""
