"""
Gatepost: keeps an organisation's mail confidential at the border.

The package is layered; see docs/hacking.md for the rooms and the direction of imports.
"""

from importlib.metadata import version

__version__ = version("gatepost")
