"""
The changes of files that put Gatepost into a Postfix configuration or take it out.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from gatepost.errors import ConfigError
from gatepost.mta.postfix import ports
from gatepost.mta.postfix.files import FileChange, read, read_configuration
from gatepost.mta.postfix.gate import Gate
from gatepost.mta.postfix.mastercf import services_of
from gatepost.mta.postfix.postconf import Configuration
from gatepost.mta.postfix.setup import Setup, bare, with_gatepost

_MAPS = ("gatepost-route.regexp", "gatepost-unroute.regexp", "gatepost-inside.cidr")


def to_apply(directory: Path, gate: Gate) -> tuple[list[FileChange], Setup]:
    """
    Work out what `--apply` writes, in the order to write it: what is referred to comes first.

    Raises ConfigError for what is not supported and for what Postfix could not read afterwards.
    """
    current = read_configuration(directory)
    setup = with_gatepost(bare(current), gate)
    Configuration(directory, setup.main, setup.master).check()
    maps = [FileChange(directory / name, read(directory / name), text) for name, text in setup.maps.items()]
    unused = [name for name in _MAPS if name not in setup.maps and read(directory / name) is not None]
    gone = [FileChange(directory / name, read(directory / name), None) for name in unused]
    return [*maps, *_texts(current, setup.main, setup.master), *gone], setup


def to_revert(directory: Path) -> list[FileChange]:
    """Work out what `--revert` writes: the admin's texts, and no map files of ours."""
    current = read_configuration(directory)
    admins = bare(current)
    maps = [FileChange(directory / name, read(directory / name), None) for name in _MAPS]
    return [*reversed(_texts(current, admins.main, admins.master)), *maps]


def chosen_listeners(
    directory: Path, wanted: Mapping[str, str], *, fixed: Collection[str], running: Collection[str] = ()
) -> dict[str, str]:
    """
    Choose the listeners' addresses, by their keys in gatepost.toml: the wanted ones, or the next free port.

    An address whose key is in `fixed` was set by the admin: if it is taken, ConfigError says so. `running` are the
    addresses of our listeners that a Postfix still serves which has not been reloaded since `--revert`.
    """
    current = read_configuration(directory)
    named = ports.named_ports(services_of(bare(current).master))
    ours = {service.name for service in services_of(current.master) if service.type == "inet"} | {*running}
    chosen: dict[str, str] = {}
    for key, address in wanted.items():
        taken = named | {other.rpartition(":")[2] for other in chosen.values()}
        if key in fixed and not ports.free(address, named=taken, ours=ours):
            raise ConfigError(f"{address} is in use: name a free port in gatepost.toml, [gateway] {key}")
        chosen[key] = ports.next_free(address, named=taken, ours=ours)
    return chosen


def _texts(current: Configuration, main: str, master: str) -> list[FileChange]:
    return [
        FileChange(current.directory / "main.cf", current.main, main),
        FileChange(current.directory / "master.cf", current.master, master),
    ]
