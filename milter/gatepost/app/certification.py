"""
What tells whether authorities vouch for a certificate, wired: the site's roots, and the web where authorities
publish what they revoked.
"""

from pathlib import Path

from cryptography import x509

from gatepost.crypto.certification import NO_AUTHORITIES, Certification, CertifiedByRoots
from gatepost.crypto.chain import Chains, read_authorities
from gatepost.crypto.revocation import Revocation
from gatepost.errors import ConfigError, CryptoError
from gatepost.settings import Settings

_LEAST_SECONDS = 10.0  # of one fetch, though nobody waits so long: a later question finds what it brought


def certification_of(settings: Settings) -> Certification:
    """Wire what judges certificates by the settings of [smime]; raises ConfigError for a file of authorities."""
    if not settings.smime.roots:
        return NO_AUTHORITIES
    chains = Chains(authorities_of(settings, "roots"), authorities_of(settings, "intermediates"))
    return CertifiedByRoots(chains, _revocation_of(settings), hard=settings.smime.revocation == "hard")


def authorities_of(settings: Settings, name: str) -> tuple[x509.Certificate, ...]:
    """Read the file that the setting of this name in [smime] names, none: no certificates; raises ConfigError."""
    file = getattr(settings.smime, name)
    if not file:
        return ()
    try:
        return read_authorities(Path(file).read_bytes())
    except (OSError, CryptoError) as error:
        fault = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"smime.{name}: {file}: {fault}") from error


def _revocation_of(settings: Settings) -> Revocation | None:
    if settings.smime.revocation == "off":
        return None
    # Who trusts no root does without DNS and the web
    from gatepost.app.transport import resolver_of, targets_of  # noqa: PLC0415
    from gatepost.transport.authority_web import AuthorityWeb  # noqa: PLC0415
    from gatepost.transport.https import Https  # noqa: PLC0415
    from gatepost.transport.kept_statements import KeptStatements  # noqa: PLC0415

    web = AuthorityWeb(
        Https(settings.dns.https_ca_file),
        lambda: resolver_of(settings),
        targets_of(settings),
        any_port=settings.dns.allow_private,
    )
    seconds = settings.smime.revocation_seconds
    return Revocation(KeptStatements(web, seconds=max(seconds, _LEAST_SECONDS)), seconds)
