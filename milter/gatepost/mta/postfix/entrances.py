"""
Every way mail enters a Postfix, and whether it passes Gatepost.

An entrance is a service that accepts messages: each smtpd, and pickup and qmqpd, whose messages have no SMTP
session (non_smtpd_milters). What Postfix writes itself (bounces, notices) has no milters and is no entrance.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gatepost.mta.postfix.gate import Gate
from gatepost.mta.postfix.mastercf import Service

PARAMETERS = (
    "smtpd_milters",
    "non_smtpd_milters",
    "receive_override_options",
    "content_filter",
    "smtpd_proxy_filter",
    "smtpd_milter_maps",
    "cleanup_service_name",
    "message_size_limit",
    "smtpd_data_restrictions",
    "smtpd_sasl_auth_enable",
)
_BY_SMTP = frozenset({"smtpd"})
_WITHOUT_SMTP = frozenset({"pickup", "qmqpd"})
_PORT_NAMES = {
    "25": "smtp",
    "smtp": "smtp",
    "smtpd": "smtp",
    "587": "submission",
    "465": "submissions",
    "smtps": "submissions",
}


@dataclass(frozen=True, slots=True)
class Entrance:
    """One way in: the service, its listener's name, and the parameters that hold for it."""

    service: Service
    listener: str
    values: Mapping[str, str]

    @property
    def by_smtp(self) -> bool:
        """Tell smtpd from the services without a session."""
        return self.service.command in _BY_SMTP

    @property
    def milters(self) -> str:
        """Name the milters that its messages pass."""
        return self.values["smtpd_milters" if self.by_smtp else "non_smtpd_milters"]

    @property
    def filter(self) -> str:
        """Name the filter that its messages are given to, outside of Postfix or behind it; empty for none."""
        return (self.by_smtp and self.values["smtpd_proxy_filter"]) or self.values["content_filter"]

    @property
    def skips_milters(self) -> bool:
        """Tell whether `no_milters` takes all milters off."""
        return "no_milters" in self.values["receive_override_options"]


def entrances_of(services: Sequence[Service], values: Mapping[str, str], gate: Gate) -> list[Entrance]:
    """List the ways in, without Gatepost's own listeners. `values` are main.cf's for PARAMETERS."""
    own = set(gate.listeners.values())
    return [
        Entrance(
            service, listener_name(service), {name: service.options.get(name, values[name]) for name in PARAMETERS}
        )
        for service in services
        if service.command in _BY_SMTP | _WITHOUT_SMTP and service.name not in own
    ]


def listener_name(service: Service) -> str:
    """
    Name the listener as rules and settings do: the macro {daemon_name}.

    The admin's own milter_macro_daemon_name stays. Else `smtp`, `submission` or `submissions` by the port; on
    another port the last part of syslog_name (`postfix/submission`), else the port.
    """
    options = service.options
    if "milter_macro_daemon_name" in options:
        return options["milter_macro_daemon_name"]
    port = re.split(r":(?=[^:\]]*$)", service.name)[-1]
    logged = options.get("syslog_name", "").rpartition("/")[2]
    if port.isdigit() and port not in _PORT_NAMES and re.fullmatch(r"[a-z][a-z0-9-]*", logged):
        port = logged
    return _PORT_NAMES.get(port, port)
