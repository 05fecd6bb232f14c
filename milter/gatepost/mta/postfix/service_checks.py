"""
The doctor's check of the service address: does Postfix take mail for it, though it has no mailbox?

Postfix refuses a recipient that its tables do not name (smtpd_reject_unlisted_recipient) before it asks Gatepost.
Which table names whom depends on the class of the domain (Postfix's ADDRESS_CLASS_README).
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gatepost.errors import ConfigError, GatepostError
from gatepost.mta.finding import Finding, fail, ok, warn
from gatepost.mta.postfix import files
from gatepost.mta.postfix.tables import Tables, is_table, maps

_CLASSES = {  # domains, and the tables of their recipients; where these are empty every recipient is taken
    "mydestination": "local_recipient_maps",
    "virtual_mailbox_domains": "virtual_mailbox_maps",
    "relay_domains": "relay_recipient_maps",
}
_OF_ALL = ("virtual_alias_maps", "canonical_maps", "recipient_canonical_maps")
_SWITCH = "smtpd_reject_unlisted_recipient"


def service_address_checks(directory: Path, setting: str, addresses: Iterable[str]) -> Iterator[Finding]:
    """Check the Postfix in `directory` for these addresses; `setting` is `[gateway] aliases`."""
    wanted = sorted(addresses)
    if not wanted:
        return
    try:
        listed = _Listed(directory)
        for address in wanted:
            yield _finding(address, setting, listed=listed.takes(address))
    except GatepostError as error:
        yield from (fail("the service address", fault) for fault in error.diagnostics())


def _finding(address: str, setting: str, *, listed: bool) -> Finding:
    if listed:
        return ok(f"Postfix takes mail for {address}, where insiders forward what they cannot read")
    remedy = f'add "{address} postmaster" to a table in virtual_alias_maps and run postmap on it'
    if setting == "expanded":
        remedy = f"name {address} in relay_recipient_maps or virtual_mailbox_maps; an alias is expanded too early"
    return warn(
        f"Postfix refuses mail for {address}, where insiders forward what they cannot read",
        f'{remedy}; or set [gateway] decrypt_address = ""',
    )


class _Listed:
    """What Postfix's tables say of recipients."""

    def __init__(self, directory: Path) -> None:
        names = (*_CLASSES, *_CLASSES.values(), *_OF_ALL, _SWITCH)
        self._values: Mapping[str, str] = files.read_configuration(directory).values(names, expand=True)
        self._tables = Tables(directory, "table", "recipients cannot be looked up", "", ConfigError)

    def takes(self, address: str) -> bool:
        """Tell whether Postfix takes a recipient; raises ConfigError where a table cannot be asked."""
        local, _, domain = address.partition("@")
        if self._values[_SWITCH] == "no" or self._names(_OF_ALL, (address, f"@{domain}")):
            return True
        for domains, recipients in _CLASSES.items():
            if self._holds(domains, domain):
                is_local = domains == "mydestination"
                keys = (address, f"@{domain}", *((local,) if is_local else ()))
                return not self._values[recipients] or self._names((recipients,), keys)
        return False

    def _holds(self, parameter: str, domain: str) -> bool:
        words = tuple(maps(self._values[parameter]))
        return domain in map(str.lower, words) or any(self._tables.ask(one, [domain]) for one in _named(words))

    def _names(self, parameters: Iterable[str], keys: tuple[str, ...]) -> bool:
        words = (word for name in parameters for word in maps(self._values[name]))
        return any(self._tables.ask(table, keys) for table in _named(words))


def _named(words: Iterable[str]) -> Iterator[str]:
    return (word for word in words if is_table(word))
