"""
The services that Gatepost adds to master.cf.

  * a cleanup behind every cleanup that an entrance uses: it takes 1.5 times the size, since encryption makes
    a message larger, and turns the field `Gatepost-Route` that the milter adds into the TLS route;
  * two re-injection listeners with a cleanup each: loopback, TLS, one client certificate, none of our milter;
    what they accept is not copied or judged a second time, nor are its recipients' aliases followed again;
  * `gatepost-tls`: smtp(8) that asks the policy service at delivery and never sends in clear, whatever a sender
    says of it: a Postfix that knows the field `TLS-Required: no` (RFC 8689 section 5) would ask nobody.

A client cannot reach the TLS route: milter_header_checks see only what milters add, and the second listener
admits only our client certificate.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from gatepost.mta.postfix.gate import Gate
from gatepost.mta.postfix.mastercf import Service, entry

TLS_TRANSPORT = "gatepost-tls"
LISTENER_CLEANUP = "gatepost-listener"
TLS_LISTENER_CLEANUP = "gatepost-tls-listener"
ROUTE_MAP = "regexp:$config_directory/gatepost-route.regexp"
UNROUTE_MAP = "regexp:$config_directory/gatepost-unroute.regexp"
# What stands in these two files. A hop is a domain or [host]:port; anything else must not leave unprotected.
ROUTE_FILE = (
    "# Written by `gatepost setup postfix`: the milter's field becomes the TLS route.\n"
    f"/^Gatepost-Route:[[:blank:]]*([][A-Za-z0-9._:-]+)[[:blank:]]*$/ FILTER {TLS_TRANSPORT}:$1\n"
    "/^Gatepost-Route:/ REJECT 5.3.5 this TLS route cannot be read\n"
)
UNROUTE_FILE = "# Written by `gatepost setup postfix`: the field stays inside.\n/^Gatepost-Route:/ IGNORE\n"
NEWER = {  # options of the TLS route that an older Postfix does not know
    "tls_required_enable": "no",  # 3.10
    "smtp_requiretls_policy": "enforce",  # 3.11
}
_LISTENER_PROCESSES = "100"
_CONTENT_CHECKS = ("header_checks", "mime_header_checks", "nested_header_checks", "body_checks")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What the admin's configuration says that our services follow.

    `milters`: the admin's own, which see re-injected mail too (the DKIM signer). `chroot`: that of the ordinary
    smtpd, since milters' paths are meant from there. `daemon_name`: the name under which signers know own mail.
    `syslog_name`: this Postfix's in its log.
    `by_dns`: smtp(8) asks DNS, by `host_lookup`. `newer`: which of NEWER this Postfix knows.
    """

    milters: str
    milter_header_checks: str
    smtp_header_checks: str
    size_limit: int
    chroot: str
    daemon_name: str
    ca_file: str
    canonical_classes: str
    syslog_name: str
    by_dns: bool = True
    host_lookup: str = "dns"
    newer: frozenset[str] = frozenset()


def grown(size_limit: int) -> int:
    """Give the size that a message of `size_limit` bytes may have after encryption; 0 is without limit."""
    return size_limit * 3 // 2


def cleanup_behind(cleanup: Service, *, size_limit: int, milter_header_checks: str, chroot: str) -> list[str]:
    """Write the cleanup that stands behind the milter in the place of the admin's `cleanup`."""
    behind = replace(cleanup, name=behind_name(cleanup.name), chroot=chroot)
    return entry(
        behind,
        {
            "message_size_limit": str(grown(size_limit)),
            "milter_header_checks": joined(ROUTE_MAP, milter_header_checks),
        },
    )


def behind_name(cleanup: str) -> str:
    """Name the cleanup behind the milter."""
    return f"gatepost-{cleanup}"


def listeners(gate: Gate, around: Surroundings, fingerprint: str) -> list[str]:
    """Write both re-injection listeners and their cleanups."""
    plain_override = UNLISTED if gate.behind is None else AS_DECIDED
    plain = listener(gate.reinject, LISTENER_CLEANUP, gate, around, fingerprint, override=plain_override)
    routed = listener(gate.reinject_tls, TLS_LISTENER_CLEANUP, gate, around, fingerprint, override=AS_DECIDED)
    return [
        *plain,
        *listener_cleanup(LISTENER_CLEANUP, around, header_checks="", more=_mappings(gate, around)),
        *routed,
        *listener_cleanup(TLS_LISTENER_CLEANUP, around, header_checks=ROUTE_MAP, more={}),
    ]


def _mappings(gate: Gate, around: Surroundings) -> Mapping[str, str]:
    """
    Leave recipients as they are where Gatepost has followed their aliases; senders are rewritten as ever.

    Expanded again, a copy that is for an insider would go outside as well.
    """
    if not gate.follows_aliases:
        return {}
    classes = around.canonical_classes.replace(",", " ").split()
    return {
        "virtual_alias_maps": "",
        "recipient_canonical_maps": "",
        "canonical_classes": ", ".join(one for one in classes if one != "envelope_recipient"),
    }


def tls_transport(gate: Gate, around: Surroundings) -> list[str]:
    """Write the transport; without chroot, so that it finds the policy socket and the system's CAs."""
    service = Service(TLS_TRANSPORT, "unix", "-", "-", "n", "-", "-", "smtp")
    options = {
        "syslog_name": f"{around.syslog_name}/{TLS_TRANSPORT}",
        "smtp_tls_loglevel": "1",  # each session is logged: proof of how a copy went
        "smtp_tls_security_level": "secure",
        "smtp_tls_policy_maps": f"socketmap:{gate.policy_socket}:tls",
        "smtp_tls_per_site": "",
        "smtp_tls_wrappermode": "no",
        "smtp_tls_connection_reuse": "no",
        "smtp_connection_cache_on_demand": "no",
        "smtp_connection_cache_destinations": "",
        "smtp_tls_fingerprint_digest": "sha256",
        "smtp_tls_mandatory_protocols": "!SSLv2,!SSLv3,!TLSv1,!TLSv1.1",
        "smtp_tls_mandatory_ciphers": "high",
        "smtp_fallback_relay": "",
        "smtp_header_checks": joined(UNROUTE_MAP, around.smtp_header_checks),
        **(_secure_look_ups(around) if around.by_dns else {}),
        **{name: value for name, value in NEWER.items() if name in around.newer},
    }
    if around.ca_file:
        options["smtp_tls_CAfile"] = around.ca_file
    return entry(service, options)


def _secure_look_ups(around: Surroundings) -> Mapping[str, str]:
    """Let the transport do DANE (RFC 7672): hosts come from DNS, with DNSSEC, or its mail is deferred."""
    native = "native" in around.host_lookup.replace(",", " ").split()
    return {
        "smtp_dns_support_level": "dnssec",
        "smtp_host_lookup": "dns, native" if native else "dns",
        "smtp_dns_resolver_options": "",
        "ignore_mx_lookup_error": "no",
        "smtp_tls_dane_insecure_mx_policy": "dane",
    }


def listener(
    address: str,
    cleanup: str,
    gate: Gate,
    around: Surroundings,
    fingerprint: str,
    *,
    override: str,
    more: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """Write a listener that lets in our client alone; `more` are options that win over the usual ones."""
    service = Service(address, "inet", "n", "-", around.chroot, "-", _LISTENER_PROCESSES, "smtpd")
    return entry(
        service,
        {
            "syslog_name": "postfix/gatepost-listener",
            "cleanup_service_name": cleanup,
            "smtpd_milters": around.milters,
            "milter_macro_daemon_name": around.daemon_name,
            "receive_override_options": override,
            "message_size_limit": str(grown(around.size_limit)),
            **_only_our_client(gate, fingerprint),
            **_UNJUDGED,
            **_UNLIMITED,
            **more,
        },
    )


def _only_our_client(gate: Gate, fingerprint: str) -> Mapping[str, str]:
    """
    Let in one client certificate, told by its fingerprint; it is self-signed, so no CA is asked.

    Strangers are refused in the greeting: put off until RCPT, smtpd(8) would take mail for `<postmaster>`
    from anybody.
    """
    admitted = "permit_tls_clientcerts, reject"
    return {
        "smtpd_tls_wrappermode": "yes",
        "smtpd_tls_security_level": "encrypt",
        "smtpd_tls_chain_files": str(gate.listener_pem),
        "smtpd_tls_mandatory_protocols": "!SSLv2,!SSLv3,!TLSv1,!TLSv1.1",
        "smtpd_tls_mandatory_ciphers": "high",
        "smtpd_tls_ask_ccert": "yes",
        "smtpd_tls_req_ccert": "no",
        "smtpd_tls_fingerprint_digest": "sha256",
        "tls_server_sni_maps": "",
        "relay_clientcerts": f"inline:{{ {{ {fingerprint} = gatepost }} }}",
        "smtpd_delay_reject": "no",
        "smtpd_client_restrictions": admitted,
        "smtpd_relay_restrictions": admitted,
        "smtpd_recipient_restrictions": admitted,
        "smtpd_etrn_restrictions": "reject",
        "smtpd_sasl_auth_enable": "no",
        "smtpd_authorized_xclient_hosts": "",
        "smtpd_authorized_xforward_hosts": "",
        "smtpd_upstream_proxy_protocol": "",
    }


UNLISTED = "no_unknown_recipient_checks"
AS_DECIDED = "no_address_mappings,no_unknown_recipient_checks"
# The copy was judged when it came in: nothing more is refused, filtered or looked up.
_UNJUDGED: Mapping[str, str] = {
    "content_filter": "",
    "smtpd_proxy_filter": "",
    "smtpd_command_filter": "",
    "smtpd_milter_maps": "",
    "smtpd_helo_required": "no",
    "smtpd_helo_restrictions": "",
    "smtpd_sender_restrictions": "",
    "smtpd_data_restrictions": "",
    "smtpd_end_of_data_restrictions": "",
    "smtpd_reject_unlisted_sender": "no",
    "smtpd_reject_unlisted_recipient": "no",
    "smtpd_discard_ehlo_keywords": "",
    "smtpd_discard_ehlo_keyword_address_maps": "",
    "strict_rfc821_envelopes": "no",
    "local_header_rewrite_clients": "",
    "smtpd_peername_lookup": "no",
}
_UNLIMITED: Mapping[str, str] = {
    "smtpd_client_connection_count_limit": "0",
    "smtpd_client_connection_rate_limit": "0",
    "smtpd_client_message_rate_limit": "0",
    "smtpd_client_recipient_rate_limit": "0",
    "smtpd_client_new_tls_session_rate_limit": "0",
    "smtpd_recipient_limit": "100000",
    "smtpd_error_sleep_time": "0",
    "smtpd_soft_error_limit": "1000",
    "smtpd_hard_error_limit": "2000",
}


def listener_cleanup(name: str, around: Surroundings, *, header_checks: str, more: Mapping[str, str]) -> list[str]:
    """Write the cleanup behind a listener; `more` are options that win over the usual ones."""
    service = Service(name, "unix", "n", "-", around.chroot, "-", "0", "cleanup")
    options = dict.fromkeys(_CONTENT_CHECKS, "") | {
        "header_checks": header_checks,
        "milter_header_checks": around.milter_header_checks,
        "non_smtpd_milters": "",
        "message_size_limit": str(grown(around.size_limit)),
        "always_add_missing_headers": "no",
        # The original was copied to these already.
        "always_bcc": "",
        "sender_bcc_maps": "",
        "recipient_bcc_maps": "",
        **more,
    }
    return entry(service, options)


def joined(first: str, rest: str) -> str:
    """Give two lists of maps as one."""
    return f"{first}, {rest}" if rest else first
