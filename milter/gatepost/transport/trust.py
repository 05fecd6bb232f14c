"""
Whose certificates are believed when a host is asked for a policy or knocked at: the system's authorities and those
that the admin adds, for a DNS name in subjectAltName (RFC 6125), under TLS 1.2 or later.
"""

import ssl

from gatepost.errors import ConfigError


def context(ca_file: str) -> ssl.SSLContext:
    """Give a client's TLS context; `ca_file` is a PEM file of further authorities, or "". Raises ConfigError."""
    made = ssl.create_default_context()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.hostname_checks_common_name = False
    if ca_file:
        try:
            made.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            fault = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(f"dns.https_ca_file: {ca_file}: {fault}") from error
    return made
