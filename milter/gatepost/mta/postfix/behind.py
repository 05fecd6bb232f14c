"""
Gatepost behind alias expansion: the arrangement for sites whose alias tables it cannot ask.

    clients -> the admin's smtpd, pickup -> cleanup: aliases, BCC -> queue -> gatepost-behind
            -> listener gatepost-inside or gatepost-outside, with the milter -> cleanup -> queue -> delivery

  * Every entrance hands its mail on by content_filter. What is inside goes to the one listener, all else to the
    other: by the entrance where it has one side only, else for each client, by its network and its login.
  * The listeners let in our client certificate alone. They change no address, so what was decided stays.
  * The milters before Gatepost's place stay at the entrance, where the client is seen; those behind it, such as a
    DKIM signer, run on the listeners.
  * Our own notices enter by a listener from which they take the same way, since they need the aliases too.

What local(8) does at delivery still comes later; alias_maps are asked as ever.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from gatepost.message.direction import FROM_INSIDE, FROM_OUTSIDE
from gatepost.message.transaction import Client
from gatepost.mta.postfix import own_services
from gatepost.mta.postfix.entrances import Entrance
from gatepost.mta.postfix.gate import Behind, Gate, fingerprint
from gatepost.mta.postfix.mastercf import Service, ServiceEdit, entry
from gatepost.mta.postfix.own_services import AS_DECIDED, ROUTE_MAP, UNLISTED, Surroundings

TRANSPORT = "gatepost-behind"
CLEANUP = "gatepost-behind-cleanup"
NOTICE_CLEANUP = "gatepost-notices-cleanup"
INSIDE_FILE = "gatepost-inside.cidr"
_INSIDE_MAP = f"cidr:$config_directory/{INSIDE_FILE}"
_OWN_PARAMETER = re.compile(r"\$(?:gatepost_milter\b|[{(]gatepost_milter[})])")
_LOOPBACK = Client("127.0.0.1")  # as Postfix shows a client to milters where there is none


def listed(way: Entrance, main: Mapping[str, str]) -> str:
    """Give the milters of an entrance as written; `main` holds main.cf's lists, not expanded."""
    name = "smtpd_milters" if way.by_smtp else "non_smtpd_milters"
    return way.service.options.get(name, main[name])


def parted(milters: str) -> tuple[str, str]:
    """Part a list of milters at Gatepost's place; without that all of them stand before it."""
    before, *after = _OWN_PARAMETER.split(milters)
    return before.strip(" ,"), " ".join(after).strip(" ,")


def faults(ways_in: Sequence[Entrance], main: Mapping[str, str]) -> Iterator[str]:
    """Say what stands against this arrangement, a text per fault; `main` holds main.cf's lists, not expanded."""
    for way in ways_in:
        milters = listed(way, main)
        where = f"master.cf, service {way.service.name} ({way.service.command})"
        name = "smtpd_milters" if way.by_smtp else "non_smtpd_milters"
        if way.filter:
            yield f"{where}: the filter {way.filter} hands mail on already, so Gatepost cannot"
        if milters.strip() and not _OWN_PARAMETER.search(milters):
            yield (
                f"{where}: {name} = {milters}: write $gatepost_milter into that list. What stands before it "
                "judges mail as it comes; what stands behind it, such as a DKIM signer, sees what leaves"
            )
        elif way.by_smtp and milters.strip() and parted(milters)[1] != parted(main["smtpd_milters"])[1]:
            yield f"{where}: {name}: behind $gatepost_milter name the same milters as in main.cf"
        if "no_address_mappings" in way.values["receive_override_options"]:
            yield f"{where}: receive_override_options = no_address_mappings: no alias is expanded there; remove it"


def edit(way: Entrance, gate: Gate, behind: Behind, main: Mapping[str, str]) -> ServiceEdit:
    """Hand an entrance's mail on to the listener of its side; `main` as in `listed`."""
    own, milters = way.service.options, "smtpd_milters" if way.by_smtp else "non_smtpd_milters"
    options: dict[str, str] = {}
    if milters in own:
        options[milters] = parted(listed(way, main))[0]
    if way.by_smtp and own.get("milter_macro_daemon_name") != way.listener:
        options["milter_macro_daemon_name"] = way.listener
    inside = gate.site.is_inside(Client(_LOOPBACK.address if not way.by_smtp else "", listener=way.listener))
    options["content_filter"] = filter_to(behind.inside if inside else behind.outside)
    if way.by_smtp and not inside and (checks := list(_sorting(way, gate, behind))):
        options["smtpd_data_restrictions"] = ", ".join(
            filter(None, (*checks, way.values["smtpd_data_restrictions"]))
        )
    return ServiceEdit(way.service, options)


def _sorting(way: Entrance, gate: Gate, behind: Behind) -> Iterator[str]:
    """Give the restrictions that lead clients who are inside to the other listener."""
    if way.listener not in gate.site.outside_listeners:
        yield f"check_client_access {_INSIDE_MAP}"
    if way.values["smtpd_sasl_auth_enable"] == "yes":
        yield f"check_sasl_access static:{{FILTER {filter_to(behind.inside)}}}"


def filter_to(address: str) -> str:
    """Name the transport and the listener."""
    host, _, port = address.rpartition(":")
    return f"{TRANSPORT}:[{host.strip('[]')}]:{port}"


def inside_file(gate: Gate, behind: Behind) -> str:
    """Write the table of clients that are inside by their network."""
    head = "# Written by `gatepost setup postfix`: [gateway] internal_networks.\n"
    return head + "".join(f"{network} FILTER {filter_to(behind.inside)}\n" for network in gate.site.networks)


def services(gate: Gate, behind: Behind, around: Surroundings, milters: str) -> list[str]:
    """Write the transport, the listeners and their cleanups; `milters` are those behind Gatepost's place."""
    ours = f"$gatepost_milter {milters}".strip()
    xforward = {"smtpd_authorized_xforward_hosts": "127.0.0.0/8, [::1]/128"}
    listeners = []
    for address, name in ((behind.inside, FROM_INSIDE), (behind.outside, FROM_OUTSIDE)):
        options = {"syslog_name": f"postfix/{name}", "milter_macro_daemon_name": name, "smtpd_milters": ours}
        options |= {"receive_override_options": AS_DECIDED}
        listeners += _listener(address, CLEANUP, gate, around, options | xforward)
    checks = own_services.joined(ROUTE_MAP, around.milter_header_checks)
    entering = {"content_filter": filter_to(behind.inside), "smtpd_milters": ""}
    return [
        *listeners,
        *own_services.listener_cleanup(CLEANUP, around, header_checks="", more={"milter_header_checks": checks}),
        *_listener(behind.notices, NOTICE_CLEANUP, gate, around, entering),
        *own_services.listener_cleanup(NOTICE_CLEANUP, around, header_checks="", more={}),
        *_transport(gate),
    ]


def _listener(address: str, cleanup: str, gate: Gate, around: Surroundings, more: Mapping[str, str]) -> list[str]:
    known = fingerprint(gate.client_pem)
    return own_services.listener(address, cleanup, gate, around, known, override=UNLISTED, more=more)


def _transport(gate: Gate) -> list[str]:
    """Write the transport to the listeners: by TLS with our certificate, nothing changed on the way."""
    service = Service(TRANSPORT, "unix", "-", "-", "n", "-", "-", "smtp")
    return entry(
        service,
        {
            "syslog_name": f"postfix/{TRANSPORT}",
            "smtp_send_xforward_command": "yes",
            "smtp_tls_wrappermode": "yes",
            "smtp_tls_security_level": "fingerprint",
            "smtp_tls_fingerprint_digest": "sha256",
            "smtp_tls_fingerprint_cert_match": fingerprint(gate.listener_pem),
            "smtp_tls_chain_files": str(gate.client_pem),
            "smtp_tls_policy_maps": "",
            "smtp_tls_per_site": "",
            "smtp_tls_connection_reuse": "no",
            "smtp_tls_mandatory_protocols": "!SSLv2,!SSLv3,!TLSv1,!TLSv1.1",
            "smtp_sasl_auth_enable": "no",
            "smtp_bind_address": "",
            "smtp_bind_address6": "",
            "smtp_fallback_relay": "",
            "smtp_generic_maps": "",
            "smtp_header_checks": "",
            "smtp_mime_header_checks": "",
            "smtp_nested_header_checks": "",
            "smtp_body_checks": "",
            "smtp_line_length_limit": "0",
            "smtp_discard_ehlo_keywords": "",
            "smtp_discard_ehlo_keyword_address_maps": "",
            "disable_mime_output_conversion": "yes",
        },
    )
