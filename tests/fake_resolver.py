"""A stand-in for DNS, in memory: what is not there does not exist, what is an error is raised."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TypeVar

from gatepost.transport.resolver import IpAddress, LookUpFailed, MailHost, Records, Tlsa

Value = TypeVar("Value")


@dataclass
class FakeResolver:
    """The port `Resolver`; fill it by its methods `has_...`. `asked` notes every question, as `TYPE name`."""

    answers: dict[str, Records[object] | LookUpFailed] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    secure: bool = True
    """What answers are that say nothing else, negative ones too."""

    def has(
        self,
        kind: str,
        name: str,
        values: Sequence[object],
        *,
        secure: bool | None = None,
        alias_of: str = "",
        seconds: int = 300,
    ) -> None:
        """Say what is at a name; `alias_of` is the name at the end of its CNAMEs."""
        vouched = self.secure if secure is None else secure
        self.answers[f"{kind} {name}"] = Records(alias_of or name, tuple(values), vouched, seconds)

    def has_mx(self, domain: str, *hosts: str, secure: bool | None = None) -> None:
        """Say a domain's mail hosts: `10 mx1.example.org`."""
        values = [MailHost(int(number), name) for number, _, name in (host.partition(" ") for host in hosts)]
        self.has("MX", domain, values, secure=secure)

    def has_addresses(self, host: str, *addresses: str, secure: bool | None = None, alias_of: str = "") -> None:
        """Say a host's addresses."""
        self.has("addresses", host, [ip_address(text) for text in addresses], secure=secure, alias_of=alias_of)

    def has_tlsa(self, name: str, *records: Tlsa, secure: bool | None = None) -> None:
        """Say the TLSA records at `_25._tcp.HOST`."""
        self.has("TLSA", name, records, secure=secure)

    def fails(self, kind: str, name: str) -> None:
        """Let a look-up fail."""
        self.answers[f"{kind} {name}"] = LookUpFailed(f"{kind} records of {name}: SERVFAIL")

    def _answer(self, kind: str, name: str, of: type[Value]) -> Records[Value]:
        self.asked.append(f"{kind} {name}")
        answer = self.answers.get(f"{kind} {name}")
        if answer is None:
            names = {known.partition(" ")[2] for known in self.answers}
            exists = any(known == name or known.endswith(f".{name}") for known in names)
            return Records(name, (), self.secure, 60, exists=exists)
        if isinstance(answer, LookUpFailed):
            raise answer
        values = tuple(value for value in answer.values if isinstance(value, of))
        return Records(answer.name, values, answer.secure, answer.seconds, answer.exists)

    async def mx(self, domain: str) -> Records[MailHost]:
        return self._answer("MX", domain, MailHost)

    async def addresses(self, host: str) -> Records[IpAddress]:
        return self._answer("addresses", host, IpAddress)  # type: ignore[arg-type]

    async def tlsa(self, name: str) -> Records[Tlsa]:
        return self._answer("TLSA", name, Tlsa)

    async def txt(self, name: str) -> Records[bytes]:
        return self._answer("TXT", name, bytes)

    async def alias(self, name: str) -> Records[str]:
        return self._answer("CNAME", name, str)
