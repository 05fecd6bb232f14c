"""
Every key of gatepost.toml: its type, its default, and the description that documentation is made from.

Only `internal_domains` has no default. Defaults follow the Filesystem Hierarchy Standard; `gatepost init` writes a
file whose paths lie in the site's own directory.
"""

import socket as system
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator

from gatepost.settings import kinds

_STATE = "/var/lib/gatepost"


class Section(BaseModel):
    """A section of the file: frozen; an unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Gateway(Section):
    """The gateway itself: whose mail it is, where it listens, what it may use."""

    internal_domains: Annotated[tuple[kinds.DomainPattern, ...], Field(min_length=1)]
    """Our domains; exact, ".hosp.test" stands for the subdomains."""
    hostname: kinds.Hostname = Field(default_factory=system.getfqdn)
    """This gateway's name in its header fields and notices; default: the host's full name."""
    internal_networks: tuple[kinds.Network, ...] = ("127.0.0.0/8", "::1/128")
    """Clients in these networks are inside."""
    inside_listeners: tuple[str, ...] = ("submission", "submissions")
    """Postfix services, by daemon_name, whose clients are inside."""
    outside_listeners: tuple[str, ...] = ()
    """Postfix services, by daemon_name, whose clients are outside even from an internal network."""
    exempt_listeners: tuple[str, ...] = ()
    """Postfix services, by daemon_name, that are left without Gatepost on purpose."""
    socket: kinds.Socket = "unix:/var/spool/postfix/gatepost/milter.sock"
    """Where the milter listens: "unix:/path" or "inet:port@host"."""
    reinject: kinds.HostPort = "127.0.0.1:10025"
    """The re-injection listener of Postfix, "host:port"."""
    reinject_tls: kinds.HostPort = "127.0.0.1:10027"
    """The re-injection listener that puts copies on the verified TLS route."""
    no_rung: Literal["quarantine", "reject"] = "quarantine"
    """What becomes of a copy that no treatment can protect."""
    authserv_id: kinds.AuthservId = ""
    """The identity in Gatepost-Result and Authentication-Results; default: "gatepost." and the hostname."""
    trusted_authserv_ids: tuple[kinds.AuthservId, ...] = ()
    """Filters before us whose SPF, DKIM and DMARC results are believed."""
    show_unauthenticated: bool = True
    """Whether mail that was decrypted and is not signed by its author says so at the beginning of its Subject."""
    aliases: Literal["resolve", "expanded", "none", "unsafe_ignore"] = "resolve"
    """How inside recipients are followed through Postfix's alias maps; "expanded": Postfix has done it before."""
    behind_inside: kinds.HostPort = "127.0.0.1:10029"
    """With aliases = "expanded": the listener behind alias expansion for mail from inside."""
    behind_outside: kinds.HostPort = "127.0.0.1:10031"
    """With aliases = "expanded": the listener behind alias expansion for mail from outside."""
    behind_notices: kinds.HostPort = "127.0.0.1:10033"
    """With aliases = "expanded": the listener where Gatepost's own notices enter."""
    spool: Path = Path(f"{_STATE}/spool")
    """Directory for messages larger than 1 MiB while they are under way."""
    max_seconds: Annotated[int, Field(ge=1, le=3600)] = 90
    """Time budget per message, in seconds; past it the message is put off."""
    max_sessions: Annotated[int, Field(ge=1, le=10000)] = 200
    """Sessions with the mail server at one time; more are put off."""
    decrypt_address: kinds.ServiceAddress = "decrypt"
    """Where insiders forward what they cannot read: an address, or a local part at each domain; empty: nowhere."""
    admin: str = ""
    """Address for notices to the admin; default: postmaster at the first internal domain."""
    notices_per_hour: Annotated[int, Field(ge=0)] = 20
    """Notices to one sender in an hour."""
    deferral_minutes: Annotated[int, Field(ge=0)] = 60
    """Minutes that a copy by verified TLS may wait until its sender is told, once; needs [postfix] log."""
    log_format: Literal["text", "json"] = "text"
    """Form of log lines."""

    @model_validator(mode="after")
    def _agree(self) -> "Gateway":
        """Refuse values that contradict each other."""
        both = sorted({*self.inside_listeners} & {*self.outside_listeners})
        if both:
            raise ValueError(
                f"inside_listeners and outside_listeners both name {', '.join(both)}; allowed: one of them"
            )
        if self.reinject == self.reinject_tls:
            raise ValueError(f"reinject and reinject_tls are both {self.reinject}; allowed: a port for each")
        behind = (self.behind_inside, self.behind_outside, self.behind_notices)
        if self.aliases == "expanded" and len({self.reinject, self.reinject_tls, *behind}) != len(behind) + 2:
            raise ValueError("two listeners have the same address; allowed: a port for each")
        return self


class Postfix(Section):
    """The Postfix that Gatepost serves."""

    config_directory: Path = Path("/etc/postfix")
    """Where its main.cf lies."""
    log: kinds.Log = ""
    """Its log, which tells how copies went: "/path" or "journal" (systemd's); empty: it is not followed."""


class Ladder(Section):
    """The treatments that may meet a demand, best first, where neither rule nor partner names others."""

    encrypt: kinds.EncryptLadder = ("smime", "openpgp", "securedoc", "pickup")
    """For the demand "encrypt"; "tls" and "pass" are not allowed."""
    tls: kinds.TlsLadder = ("tls", "smime", "openpgp", "securedoc", "pickup")
    """For the demand "tls"."""


class Keys(Section):
    """Keys and certificates, and the key worker."""

    min_trust: kinds.Trust = "wkd"
    """The weakest trust with which a key is used; admin > dnssec > wkd > ca > keyserver > harvested."""
    socket: kinds.UnixSocket = "unix:/run/gatepost-keys/keys.sock"
    """Where the key worker listens."""
    state: Path = Path(f"{_STATE}-keys")
    """Directory of the key worker alone: there it notes how far it has stamped the record of events."""
    warn_days: tuple[Annotated[int, Field(ge=1, le=3650)], ...] = (30, 14, 7, 1)
    """On how many days before it expires the admin is told of a key or certificate in use; empty: never."""
    milter_user: str = "gatepost"
    """The user that the milter runs as, who may have mail opened; a name that this host lacks admits nobody."""
    pkcs11_module: str = ""
    """A PKCS #11 module (shared library) with tokens that hold keys of ours for S/MIME; empty: none."""


class OpenPGP(Section):
    """OpenPGP."""

    engine: Literal["sequoia", "gnupg"] = "sequoia"
    """The library that encrypts: inside the process, or through gpg."""
    gpg: str = "gpg"
    """The gpg program, for the engine "gnupg"."""
    inline: bool = False
    """Also decrypt inline PGP on the way in."""


class Smime(Section):
    """S/MIME."""

    cipher: Literal["aes256-cbc", "aes128-cbc", "aes256-gcm"] = "aes256-cbc"
    """For content; "aes256-gcm", which not all programs read, is taken where all certificates announce it."""
    rsa: Literal["pkcs1", "oaep"] = "pkcs1"
    """How the content's key is encrypted to RSA keys; not all programs read "oaep"."""
    signature: Literal["pkcs1", "pss"] = "pkcs1"
    """How RSA keys sign; not all programs read "pss"."""
    triple_des: bool = False
    """Also decrypt triple DES on the way in; it is weak (NIST SP 800-131A)."""
    roots: str = ""
    """PEM file of the authorities that the site trusts to vouch for certificates; empty: none. Read at start."""
    intermediates: str = ""
    """PEM file of authorities between those and certificates, where these come without; not trusted by that."""
    revocation: Literal["soft", "hard", "off"] = "soft"
    """An authority that cannot be asked is passed over ("soft") or refuses ("hard"); "off": none is asked."""
    revocation_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Seconds that asking about one certificate may take; what comes later counts for the next message."""


class Signing(Section):
    """Signing of outgoing mail, with the private keys of its authors or their domains."""

    when: Literal["never", "protected", "always"] = "protected"
    """Which mail to outsiders: what is encrypted with S/MIME or OpenPGP, or also what passes or goes by TLS."""
    required: bool = False
    """Hold or refuse, as no_rung says, what is to be signed and whose author has no key for it."""


class Database(Section):
    """The database of partners, keys, journal and events."""

    url: Annotated[str, kinds.url("sqlite", "postgresql+psycopg")] = f"sqlite:///{_STATE}/gatepost.db"
    """SQLAlchemy's URL: sqlite:////path or postgresql+psycopg://..."""


class Vault(Section):
    """Messages and files kept encrypted at rest."""

    url: kinds.VaultUrl = f"file://{_STATE}/vault"
    """Where blobs lie: file:///path."""
    keep_days: Annotated[int, Field(ge=1)] = 180
    """Days until a message expires."""


class Quarantine(Section):
    """Held copies."""

    keep_days: Annotated[int, Field(ge=1)] = 7
    """Days until a held copy expires."""


class Audit(Section):
    """The record of events."""

    keep_days: Annotated[int, Field(ge=1)] = 400
    """Days until an event is deleted."""


class Secrets(Section):
    """Secrets are files; systemd credentials of the same name win over them."""

    directory: Path = Path("/etc/gatepost/secrets")
    """Directory of the secret files."""


class Rules(Section):
    """The rules."""

    directory: Path = Path("/etc/gatepost/rules")
    """Directory of the rule files, read by name."""


class Dns(Section):
    """Name and web look-ups."""

    resolvers: tuple[kinds.Resolver, ...] = ()
    """Resolvers, "address" or "address#port"; empty: the system's. AD is trusted from loopback only."""
    timeout: Annotated[float, Field(gt=0, le=60)] = 3.0
    """Seconds for one look-up."""
    https_ca_file: str = ""
    """Extra CA certificates for MTA-STS and WKD hosts."""
    allow_private: bool = False
    """Fetch from private addresses too (for tests)."""


class Policy(Section):
    """The service that answers Postfix's TLS questions."""

    socket: kinds.UnixSocket = "unix:/run/gatepost-policy/policy.sock"
    """Where it listens (socketmap; maps "tls" and "sts")."""
    tlsrpt: bool = False
    """Add what Postfix needs to report on TLS (RFC 8460); an earlier Postfix than 3.10 would defer the mail."""


class Metrics(Section):
    """Numbers for monitoring."""

    listen: kinds.Listen = ""
    """Where the milter serves them in Prometheus' form: "host:port" or "unix:/path"; empty: nowhere."""


class Portal(Section):
    """The web portal."""

    url: Annotated[str, kinds.url("https", "http")] | Literal[""] = ""
    """Its address as recipients see it; empty: no portal."""
    listen: kinds.HostPort = "127.0.0.1:8025"
    """Where it listens, "host:port"."""


class Settings(Section):
    """All settings of a site."""

    gateway: Gateway
    postfix: Postfix = Postfix()
    ladder: Ladder = Ladder()
    keys: Keys = Keys()
    openpgp: OpenPGP = OpenPGP()
    smime: Smime = Smime()
    signing: Signing = Signing()
    database: Database = Database()
    vault: Vault = Vault()
    quarantine: Quarantine = Quarantine()
    audit: Audit = Audit()
    secrets: Secrets = Secrets()
    rules: Rules = Rules()
    dns: Dns = Dns()
    policy: Policy = Policy()
    metrics: Metrics = Metrics()
    portal: Portal = Portal()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def authserv_id(self) -> str:
        """The identity in our result fields."""
        return self.gateway.authserv_id or f"gatepost.{self.gateway.hostname}"

    @property
    def decrypt_addresses(self) -> frozenset[str]:
        """The service addresses, in lower case, at the domains that are named exactly."""
        given = self.gateway.decrypt_address
        domains = [one for one in self.gateway.internal_domains if not one.startswith(".")]
        if not given or "@" in given:
            return frozenset(filter(None, (given,)))
        return frozenset(f"{given}@{domain}" for domain in domains)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def admin(self) -> str:
        """The address for notices to the admin."""
        return self.gateway.admin or f"postmaster@{self.gateway.internal_domains[0].removeprefix('.')}"
