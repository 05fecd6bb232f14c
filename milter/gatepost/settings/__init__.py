"""
The site's settings: gatepost.toml as one typed, frozen value.

`read` is the only way in. It finds every fault of the file at once; an unknown key is a fault. A relative path is
relative to the file's own directory. Secrets never stand in settings.
"""

from gatepost.settings.model import Settings
from gatepost.settings.reader import read, rendered

__all__ = ["Settings", "read", "rendered"]
