"""Held copies and files, sealed at rest."""
