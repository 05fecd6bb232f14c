"""
Arrangements of Postfix in which Gatepost could not keep its promise; `setup postfix` refuses them all at once.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from gatepost.mta.postfix import filters
from gatepost.mta.postfix.entrances import Entrance
from gatepost.mta.postfix.gate import Gate

MILTER_PARAMETER = "$gatepost_milter"


def refusals(entrances: Sequence[Entrance], gate: Gate, queue_directory: Path) -> Iterator[str]:
    """Say what is wrong and what to do, a text per fault. `entrances` are those that are not exempt."""
    yield from filters.faults(entrances, gate)
    for entrance in entrances:
        values = entrance.values
        if entrance.filter:
            continue  # its mail passes Gatepost behind the filter
        if entrance.by_smtp and values["smtpd_milter_maps"]:
            yield f"{_where(entrance)}: smtpd_milter_maps can take Gatepost off for a client: remove it"
        if entrance.skips_milters:
            yield (
                f"{_where(entrance)}: receive_override_options = no_milters passes Gatepost by: remove it, or "
                f"name the listener {entrance.listener} in [gateway] exempt_listeners"
            )
        if names_socket(entrance.milters, gate):
            yield (
                f"{_where(entrance)}: its milters already name {gate.milter_socket}: take it out; to choose "
                f"its place among your milters, write {MILTER_PARAMETER} there"
            )
        if needs_no_chroot(entrance, gate, queue_directory) and (own := _chroot_paths(entrance.milters)):
            yield (
                f"{_where(entrance)}: runs in a chroot where Gatepost's socket cannot be seen, and without it "
                f"the milter {own} could not be found: put [gateway] socket below {queue_directory}, or write "
                "that milter's path without its first slash"
            )


def names_socket(milters: str, gate: Gate) -> bool:
    """Tell whether a milter list names our socket by its path."""
    path = gate.milter_path()
    return path is not None and f"unix:{path}" in milters


def needs_no_chroot(entrance: Entrance, gate: Gate, queue_directory: Path) -> bool:
    """Tell whether the service is in a chroot from which our socket cannot be seen."""
    path = gate.milter_path()
    return entrance.service.chroot == "y" and path is not None and not path.is_relative_to(queue_directory)


def _chroot_paths(milters: str) -> str:
    return next((word.rstrip(",}") for word in milters.split() if word.startswith("unix:/")), "")


def _where(entrance: Entrance) -> str:
    return f"master.cf, service {entrance.service.name} ({entrance.service.command})"
