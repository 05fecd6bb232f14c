"""
Gatepost as `gatepost init` leaves it, with its partners' keys; and the proof that it did its work.

Proof of a batch: an event for every message and, where it was encrypted, a thread row, in the site's database; the
samples decrypted by the command lines of gpg and openssl, octet for octet.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.gpg import Gpg
from lab.postfix import Postfix
from lab.site import GatepostSite
from lab.smime import Smime
from lab.wait import until

from bench.mail import INSIDE

_CORRESPONDENT = "Bea Brook <bea@clinic.test>"


class GatepostUnderTest:
    """
    A site whose mail to its partners is encrypted.

    `keys` tells, for each partner's domain, to what: "openpgp", a cv25519 key made by gpg, or the kind of a
    certificate made by openssl (`lab.smime.KEYS`).
    """

    def __init__(self, folder: Path, postfix: Postfix, *, keys: Mapping[str, str]) -> None:
        self._folder = folder
        self._site = GatepostSite(folder / "site", postfix, domains=[INSIDE])
        self._keys = keys
        self._gpg = Gpg(folder / "gpg")
        self._smime = Smime(folder / "smime")

    @property
    def pid(self) -> int:
        """The supervisor's process ID; every other process of the site descends from it."""
        return self._site.pid

    def __enter__(self) -> Self:
        self._site.create()
        for domain, key in self._keys.items():
            ladder = "openpgp" if key == "openpgp" else "smime"
            self._site.gatepost("partner", "add", domain, "--demand", "encrypt", "--ladder", ladder)
            self._site.gatepost("key", "import", self._made(domain, key), "--for", domain)
        self._site.postfix.reload()
        self._site.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._site.__exit__(kind, error, trace)
        self._gpg.close()

    def _made(self, domain: str, key: str) -> Path:
        if key == "openpgp":
            return self._gpg.export_to(self._folder / "partner.asc", _CORRESPONDENT)
        return self._smime.certificate(domain, key)

    def opened(self, message: bytes, domain: str) -> bytes:
        """Decrypt a message as the partner does; raises RuntimeError."""
        if self._keys[domain] == "openpgp":
            return self._gpg.decrypt(message).data
        return self._smime.decrypt(message, domain)

    def log(self) -> str:
        """Give what the services wrote."""
        return self._site.log()

    def wait_for_events(self, batch: str, count: int) -> None:
        """Wait until every message of a batch has its event; raises TimeoutError."""
        until(lambda: self._events(batch) == count, 10, lambda: f"{self._events(batch)} of {count} events")

    def _events(self, batch: str) -> int:
        # From "<batch." up to "<batch/", the next character: an index search.
        statement = "SELECT count(DISTINCT message_id) FROM event WHERE message_id >= ? AND message_id < ?"
        return self._number(statement, (f"<{batch}.", f"<{batch}/"))

    def threads(self) -> int:
        """Count the thread rows."""
        return self._number("SELECT count(*) FROM thread")

    def _number(self, statement: str, parameters: Sequence[str] = ()) -> int:
        path = str(self._site.setting("database.url")).removeprefix("sqlite:///")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return int(connection.execute(statement, parameters).fetchone()[0])
