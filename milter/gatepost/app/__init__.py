"""
The composition root: settings in, wired objects out. The only package that constructs adapters.

A module for each thing that runs or is looked into, so that each process loads what it needs and no more.
"""
