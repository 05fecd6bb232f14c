"""
One attack: a message, who sends it, and what each insider may get of it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from lab.attacks.chance import Chance
from lab.attacks.people import DOC, EVE, KIM

_DATE = "Tue, 02 Jan 2024 00:00:00 +0000"


@dataclass(frozen=True, slots=True)
class Gets:
    """
    What one insider may get, judged from the octets received.

    `decrypted` and `signed` are the values of Gatepost-Result that are right; all of `flags` must stand there, and
    one of `one_of` if it names any.
    `as_it_came`: the body is the one that was sent, to the octet. `clear` are words that can be read in what
    arrives, `hidden` words that cannot. `inert`: nothing in it loads, runs or refers to anything. `never_by`: of
    these addresses it must not be called signed.
    """

    decrypted: tuple[str, ...] = ("no",)
    signed: tuple[str, ...] = ("none", "fail")
    flags: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    as_it_came: bool = False
    clear: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    inert: bool = False
    never_by: tuple[str, ...] = (KIM,)


@dataclass(frozen=True, slots=True)
class Mail:
    """An attack. `first` is a message that must have come before, from `first_sender` to the same insiders."""

    kind: str
    name: str
    about: str
    message: bytes
    gets: Mapping[str, Gets]
    sender: str = EVE
    first: bytes = b""
    first_sender: str = KIM

    def write(self, folder: Path) -> None:
        """Write message.eml, expected.json and, where there is one, first.eml into a folder, which is made."""
        folder.mkdir(parents=True)
        (folder / "message.eml").write_bytes(self.message)
        expected = {
            "about": self.about,
            "sender": self.sender,
            "insiders": {address: asdict(gets) for address, gets in self.gets.items()},
        }
        if self.first:
            (folder / "first.eml").write_bytes(self.first)
            expected["first_sender"] = self.first_sender
        (folder / "expected.json").write_text(json.dumps(expected, indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Case:
    """The beginnings of an attack: its kind and name, chance, and words that nothing else holds."""

    kind: str
    name: str
    chance: Chance

    @classmethod
    def of(cls, kind: str, name: str) -> "Case":
        """Begin an attack."""
        return cls(kind, name, Chance(f"{kind}/{name}"))

    @property
    def secret(self) -> str:
        """What only the addressee of stolen ciphertext should read."""
        return self._word("SECRET")

    @property
    def forged(self) -> str:
        """What the attacker wants to be believed."""
        return self._word("FORGED")

    def _word(self, what: str) -> str:
        return f"{what}-{sha256(f'{self.kind}/{self.name}'.encode()).hexdigest()[:16].upper()}-END"

    def letter(
        self, entity: bytes, *authors: str, to: str = DOC, more: tuple[str, ...] = (), number: str = ""
    ) -> bytes:
        """Write a message around an entity; `authors` are whole fields, by default From with kim's address."""
        head = [
            *(authors or (f"From: {KIM}",)),
            f"To: {to}",
            f"Subject: {self.kind}, {self.name.replace('-', ' ')}",
            f"Date: {_DATE}",
            f"Message-ID: <{self.kind}.{self.name}{number}@attacks.test>",
            "MIME-Version: 1.0",
            *more,
        ]
        return b"".join(line.encode() + b"\r\n" for line in head) + entity

    def mail(self, about: str, message: bytes, gets: Gets, *, to: str = DOC, sender: str = EVE) -> Mail:
        """End an attack that goes to one insider."""
        return Mail(self.kind, self.name, about, message, {to: gets}, sender)
