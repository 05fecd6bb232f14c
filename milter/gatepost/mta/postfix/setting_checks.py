"""
The checks of single settings of Postfix that undo what Gatepost does, each with the command that mends it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gatepost.message.direction import Site
from gatepost.mta.finding import Finding, fail, ok, warn
from gatepost.mta.postfix.gate import Gate
from gatepost.mta.postfix.mastercf import Service
from gatepost.mta.postfix.own_services import grown

_BCC = ("always_bcc", "sender_bcc_maps", "recipient_bcc_maps")
_FORWARDING = ("forward_path", "luser_relay")
_ROUTING = {"allow_percent_hack": "user%elsewhere@here", "swap_bangpath": "elsewhere!user@here"}
# A mailbox's limit, and what must be set for mail to be delivered there by local(8) or virtual(8).
_MAILBOXES = {"mailbox_size_limit": "mydestination", "virtual_mailbox_limit": "virtual_mailbox_maps"}
_TABLES = ("header_checks", "mime_header_checks", "nested_header_checks", "body_checks")
_RESTRICTIONS = tuple(
    f"smtpd_{stage}_restrictions" for stage in ("client", "helo", "sender", "relay", "recipient", "data")
)
PARAMETERS = (
    *_BCC,
    *_FORWARDING,
    *_ROUTING,
    *_MAILBOXES,
    *_MAILBOXES.values(),
    *_TABLES,
    *_RESTRICTIONS,
    "milter_default_action",
    "enable_original_recipient",
    "smtputf8_enable",
    "message_size_limit",
    "message_strip_characters",
    "smtpd_forbid_bare_newline",
)
_FILTER = re.compile(r"(?:^|\s)FILTER\s+\S+:", re.MULTILINE | re.IGNORECASE)
_TABLE_FILE = re.compile(r"\b[a-z]+:(/[^\s,}]+)")


def setting_checks(
    directory: Path, values: Mapping[str, str], services: Sequence[Service], gate: Gate, site: Site
) -> Iterator[Finding]:
    """Check main.cf's `values` of PARAMETERS, expanded, and what services set for themselves."""
    if gate.behind is None:
        yield from _bcc_checks(directory, values)
    else:
        yield from _filter_checks(values)
    yield from _single_checks(directory, values)
    yield from _size_checks(directory, values)
    yield from _routing_checks(directory, values, services)
    yield from _local_checks(directory, values, site)


def _bcc_checks(directory: Path, values: Mapping[str, str]) -> Iterator[Finding]:
    """Check that no copies go past us; behind alias expansion their recipients are judged as any others."""
    for name in _BCC:
        if values[name]:
            yield fail(
                f"{name} = {values[name]} copies mail past Gatepost, in clear",
                f"{_setting(directory, name, '')}; an archive that takes mail before Gatepost does the same",
            )


def _filter_checks(values: Mapping[str, str]) -> Iterator[Finding]:
    """Check that no table sends mail elsewhere than behind the expansion: the last FILTER wins."""
    named = [(file, name) for name in (*_TABLES, *_RESTRICTIONS) for file in _TABLE_FILE.findall(values[name])]
    for file, name in dict(reversed(named)).items():
        try:
            found = _FILTER.search(Path(file).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue  # Postfix says so itself
        if found:
            yield fail(
                f"{name}: {file} has a FILTER action, which takes mail past Gatepost", f"take it out of {file}"
            )


def _single_checks(directory: Path, values: Mapping[str, str]) -> Iterator[Finding]:
    if values["enable_original_recipient"] != "yes":
        yield fail(
            "enable_original_recipient = no: recipients cannot be taken off a message",
            _setting(directory, "enable_original_recipient", "yes"),
        )
    action = values["milter_default_action"]
    if action in {"accept", "quarantine"}:
        yield fail(
            f"milter_default_action = {action}: mail passes your other milters unseen while they are down",
            f"{_setting(directory, 'milter_default_action', 'tempfail')}; for one milter alone write "
            "{ ADDRESS, default_action=accept } into the list",
        )
    if values["smtpd_forbid_bare_newline"] == "no":
        yield fail(
            "smtpd_forbid_bare_newline = no: smuggled messages are possible",
            _setting(directory, "smtpd_forbid_bare_newline", "normalize"),
        )
    elif not values["smtpd_forbid_bare_newline"]:
        yield warn(
            "this Postfix cannot refuse smuggled messages", "install a Postfix with smtpd_forbid_bare_newline"
        )
    if "\\0" not in values["message_strip_characters"]:
        yield warn(
            "NUL bytes in headers hide what follows from milters",
            _setting(directory, "message_strip_characters", values["message_strip_characters"] + "\\0"),
        )
    if values["smtputf8_enable"] == "no":
        yield warn(
            "smtputf8_enable = no: internationalised addresses are refused",
            _setting(directory, "smtputf8_enable", "yes"),
        )


def _size_checks(directory: Path, values: Mapping[str, str]) -> Iterator[Finding]:
    """Check that a mailbox takes the largest message; 0 is no limit."""
    largest = int(values["message_size_limit"] or 0)
    for name, served in _MAILBOXES.items():
        limit = int(values[name] or 0) if values[served] else 0
        if limit and (limit < largest or not largest):
            yield fail(
                f"{name} = {limit} is below message_size_limit = {largest}: large mail is taken and bounced",
                _setting(directory, name, str(grown(largest))),
            )


def _routing_checks(directory: Path, values: Mapping[str, str], services: Sequence[Service]) -> Iterator[Finding]:
    """Check that no address is read as a route, by main.cf or by a service's own options."""
    for name, form in _ROUTING.items():
        places = [("main.cf", values[name], f"`gatepost setup postfix --apply`, then {_reload(directory)}")]
        places += [
            (
                f"master.cf, service {one.name}",
                one.options.get(name, "no"),
                f"`postconf -c {directory} -PX {one.name}/{one.type}/{name}`, then {_reload(directory)}",
            )
            for one in services
        ]
        for place, value, remedy in places:
            if value.lower() != "no":
                yield fail(
                    f"{name} = {value} ({place}): {form} goes to a domain that Gatepost did not judge", remedy
                )


def _local_checks(directory: Path, values: Mapping[str, str], site: Site) -> Iterator[Finding]:
    local = {word.lower() for word in values["mydestination"].replace(",", " ").split()}
    served = sorted(name for name in local if site.is_internal_domain(name))
    if not served:
        yield ok("local(8) delivers for no internal domain")
        return
    for name in _FORWARDING:
        if values[name]:
            yield fail(
                f"{name} is set, and local(8) serves {', '.join(served)}: mail may be forwarded out in clear",
                f"{_setting(directory, name, '')}; write forwards into alias maps, which Gatepost asks",
            )


def _setting(directory: Path, name: str, value: str) -> str:
    return f"`postconf -c {directory} -e '{name} = {value}'`, then {_reload(directory)}"


def _reload(directory: Path) -> str:
    return f"`postfix -c {directory} reload`"
