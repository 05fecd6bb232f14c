"""
The tables: what is kept, in which columns, and what no row may say.

The partner table is for admins: whatever `sqlite3` or `psql` writes there is held to the same rules as the command
line by CHECK constraints (see `conditions`). Column comments stand in both schemas.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
    func,
    literal_column,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateColumn
from sqlalchemy.sql.compiler import DDLCompiler

from gatepost.db.conditions import IS_FINGERPRINT, NAME_CHARACTERS, is_pattern, names_treatments, only
from gatepost.db.moment import Moment

metadata = MetaData()


def _text(name: str, comment: str, default: str = "") -> Column[str]:
    return Column(name, Text, nullable=False, server_default=default, comment=comment)


_NAMES_NEXTHOP = text("nexthop <> ''")

partner = Table(
    "partner",
    metadata,
    Column(
        "pattern", Text, primary_key=True, nullable=False,
        comment="address, domain, or .domain with its subdomains; lower case, domains as A-labels (xn--)",
    ),
    _text("demand", "how mail to this partner must be protected: none, tls or encrypt", "none"),
    _text("ladder", "treatments, best first, comma-separated: tls, openpgp, smime, pdf, securedoc, pickup"),
    _text("tls", "how TLS is assured: empty, verify, dane, mta-sts or fingerprint:SHA-256 in lower-case hex"),
    _text("tls_name", "with verify: the name that the certificate must bear; empty: the domain"),
    _text("tls_ca", "with verify: PEM file of the CA that must have issued it; empty: the system's"),
    _text("nexthop", "where mail on the TLS route goes: host, [host] or either with :port; empty: by MX"),
    _text("inbound", "how mail from this partner must come: none, tls or encrypt", "none"),
    _text("inbound_action", "what happens to mail that came otherwise: flag, quarantine or tempfail", "flag"),
    _text("note", "for admins"),
    _text("sign", "when mail to this partner is signed: empty (as set), never, protected or always"),
    _text("cipher_floor", "weakest cipher for S/MIME: empty, aes128-cbc, aes256-cbc or aes256-gcm"),
    CheckConstraint("pattern = lower(pattern)", name="pattern_is_lower_case"),
    CheckConstraint(is_pattern(), name="pattern_is_address_domain_or_dot_domain"),
    CheckConstraint("demand IN ('none', 'tls', 'encrypt')", name="demand_is_none_tls_or_encrypt"),
    CheckConstraint(names_treatments(), name="ladder_names_treatments"),
    CheckConstraint(
        f"tls IN ('', 'verify', 'dane', 'mta-sts') OR ({IS_FINGERPRINT})",
        name="tls_is_verify_dane_mta_sts_or_fingerprint",
    ),
    CheckConstraint(
        f"tls_name = '' OR (tls = 'verify' AND {only('tls_name', NAME_CHARACTERS)})",
        name="tls_name_needs_verify",
    ),
    CheckConstraint("tls_ca = '' OR (tls = 'verify' AND tls_ca LIKE '/%')", name="tls_ca_needs_verify"),
    CheckConstraint(only("nexthop", NAME_CHARACTERS + "[]:"), name="nexthop_is_host_or_port"),
    CheckConstraint("inbound IN ('none', 'tls', 'encrypt')", name="inbound_is_none_tls_or_encrypt"),
    CheckConstraint(
        "inbound_action IN ('flag', 'quarantine', 'tempfail')",
        name="inbound_action_is_flag_quarantine_or_tempfail",
    ),
    CheckConstraint("sign IN ('', 'never', 'protected', 'always')", name="sign_is_never_protected_or_always"),
    CheckConstraint(
        "cipher_floor IN ('', 'aes128-cbc', 'aes256-cbc', 'aes256-gcm')", name="cipher_floor_is_a_cipher"
    ),
    # Partial, since most rows name none: with them the index would tell nothing apart.
    Index("partner_nexthop", "nexthop", sqlite_where=_NAMES_NEXTHOP, postgresql_where=_NAMES_NEXTHOP),
    comment="how mail to and from each partner is protected",
)  # fmt: skip

# What stands behind the last @ of a pattern, the whole of one without.
partner_domain = func.substr(
    partner.c.pattern,
    func.length(func.rtrim(partner.c.pattern, literal_column(f"'{NAME_CHARACTERS}'"))) + literal_column("1"),
    type_=Text,
)
Index("partner_domain", partner_domain)

key = Table(
    "key",
    metadata,
    Column("fingerprint", Text, primary_key=True, nullable=False, comment="upper-case hex"),
    Column("owner", Text, primary_key=True, nullable=False, comment="address or domain that it is used for"),
    Column("kind", Text, nullable=False, comment="openpgp or smime"),
    Column("certificate", LargeBinary, nullable=False, comment="public half: binary OpenPGP or DER"),
    Column("trust", Text, nullable=False, comment="admin, dnssec, wkd, ca, keyserver or harvested"),
    _text("source", "where it came from"),
    Column("expires", Moment, comment="UTC; NULL: never"),
    Column("own", Boolean, nullable=False, server_default=false(), comment="the site holds the private half"),
    Column("private", LargeBinary, comment="private half, sealed to the secret `keys`"),
    Column("added", Moment, nullable=False, comment="UTC"),
    Column(
        "capabilities",
        LargeBinary,
        comment="SMIMECapabilities in DER that the last mail with its valid signature announced; NULL: none yet",
    ),
    CheckConstraint("kind IN ('openpgp', 'smime')", name="kind_is_openpgp_or_smime"),
    CheckConstraint(
        "trust IN ('admin', 'dnssec', 'wkd', 'ca', 'keyserver', 'harvested')", name="trust_is_a_known_level"
    ),
    CheckConstraint("owner <> ''", name="owner_is_given"),
    Index("key_owner", "owner"),
    comment="OpenPGP keys and S/MIME certificates, theirs and ours",
)

authority = Table(
    "authority",
    metadata,
    Column(
        "fingerprint", Text, primary_key=True, nullable=False, comment="SHA-256 of the certificate, upper-case hex"
    ),
    Column("certificate", LargeBinary, nullable=False, comment="DER"),
    Column("private", LargeBinary, nullable=False, comment="its key, sealed to the secret `keys`"),
    Column("expires", Moment, nullable=False, comment="UTC"),
    Column("added", Moment, nullable=False, comment="UTC; the latest one issues"),
    comment="the site's own authorities for S/MIME certificates",
)

key_request = Table(
    "key_request",
    metadata,
    Column("digest", Text, primary_key=True, nullable=False, comment="SHA-256 of the public key, upper-case hex"),
    Column("owner", Text, nullable=False, comment="address or domain that it is for"),
    Column("private", LargeBinary, nullable=False, comment="its key, sealed to the secret `keys`"),
    Column("added", Moment, nullable=False, comment="UTC"),
    comment="requests for certificates that an outside authority has not answered yet",
)

thread = Table(
    "thread",
    metadata,
    Column("message_id", LargeBinary(32), primary_key=True, nullable=False, comment="SHA-256 of the Message-ID"),
    Column("inside", Text, primary_key=True, nullable=False, comment="address of ours"),
    Column("outside", Text, primary_key=True, nullable=False, comment="address of the correspondent"),
    Column("cause", Text, nullable=False, comment="protected, decrypted or portal"),
    Column("at", Moment, nullable=False, comment="UTC"),
    CheckConstraint("length(message_id) = 32", name="message_id_is_sha256"),
    CheckConstraint("cause IN ('protected', 'decrypted', 'portal')", name="cause_is_known"),
    sqlite_with_rowid=False,
    comment="messages of conversations that were protected",
)

exchange = Table(
    "exchange",
    metadata,
    Column(
        "digest", LargeBinary(32), primary_key=True, nullable=False,
        comment="SHA-256 of a key-exchange packet's own data, or of the encrypted content",
    ),
    Column(
        "author", LargeBinary(32), nullable=False,
        comment="SHA-256 of who first brought it: the address in From, and Reply-To",
    ),
    Column("at", Moment, nullable=False, comment="UTC"),
    CheckConstraint("length(digest) = 32 AND length(author) = 32", name="digests_are_sha256"),
    sqlite_with_rowid=False,
    comment="encrypted messages that came in; the same under another author is a replay",
)  # fmt: skip

addressee = Table(
    "addressee",
    metadata,
    Column(
        "digest", LargeBinary(32), primary_key=True, nullable=False,
        comment="SHA-256 of the encrypted content, as in table exchange",
    ),
    Column("author", LargeBinary(32), primary_key=True, nullable=False, comment="as in table exchange"),
    Column(
        "recipient", LargeBinary(32), primary_key=True, nullable=False,
        comment="SHA-256 of the address, lower case",
    ),
    sqlite_with_rowid=False,
    comment="for whom encrypted messages came in",
)  # fmt: skip

event = Table(
    "event",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False, comment="UTC"),
    _text("queue_id", "the mail server's name for the message"),
    _text("message_id", "Message-ID with its angle brackets"),
    _text("direction", "out, internal, in or transit"),
    _text("sender", "envelope sender"),
    _text("recipient", "envelope recipient"),
    _text("demand", "what was demanded for this recipient"),
    _text("treatment", "how the copy went"),
    _text("rules", "names of the rules that matched, a line each"),
    _text("reasons", "why, a line each"),
    _text("detail", "more about it, as a JSON object", "{}"),
    _text("kind", "message, possible-duplicate, release or delivery", "message"),
    _text("host", "whose milter wrote it: host name and socket; empty: before there were stamps"),
    Column(
        "sequence", BigInteger, nullable=False, server_default="0",
        comment="its place among the events of this host, without gaps",
    ),
    Index("event_queue_id", "queue_id"),
    Index("event_message_id", "message_id"),
    Index("event_host_sequence", "host", "sequence", unique=True),
    comment="what was decided for each recipient, and how it went",
)  # fmt: skip

stamp = Table(
    "stamp",
    metadata,
    Column("host", Text, primary_key=True, nullable=False, comment="whose events it covers"),
    Column(
        "number", BigInteger, primary_key=True, nullable=False, autoincrement=False,
        comment="its place in the chain of this host's stamps, without gaps",
    ),
    Column("at", Moment, nullable=False, comment="UTC"),
    Column("first", BigInteger, nullable=False, comment="sequence of the first event that it covers"),
    Column("last", BigInteger, nullable=False, comment="sequence of the last one; first - 1: it covers none"),
    Column("digests", LargeBinary, nullable=False, comment="SHA-256 of each event, in order"),
    Column("purged", BigInteger, nullable=False, comment="the last stamp that expiry deleted; 0: it deleted none"),
    Column("previous", LargeBinary(32), nullable=False, comment="code of the stamp before it"),
    Column("code", LargeBinary(32), nullable=False, comment="HMAC-SHA256 under a key of the key worker"),
    CheckConstraint("length(code) = 32 AND length(previous) = 32", name="codes_are_sha256"),
    comment="what proves that events are as they were written",
)  # fmt: skip

held = Table(
    "held",
    metadata,
    Column("id", Text, primary_key=True, nullable=False, comment="UUID"),
    _text("queue_id", "the mail server's name for the message"),
    _text("sender", "envelope sender as given, with brackets"),
    _text("sender_parameters", "ESMTP parameters of MAIL, as a JSON list", "[]"),
    _text("recipients", "RCPT arguments as given, with their ESMTP parameters, as a JSON list", "[]"),
    _text("client", "who handed the message in, as a JSON object", "{}"),
    _text("subject", "decoded"),
    _text("message_id", "Message-ID with its angle brackets"),
    _text("cause", "why it is held"),
    _text("rules", "names of the rules that held it, a line each"),
    Column("since", Moment, nullable=False, comment="UTC"),
    Column("expires", Moment, nullable=False, comment="UTC"),
    _text("blob", "name of the sealed message in the vault"),
    Column("data_key", LargeBinary, comment="the blob's key, wrapped for the vault; NULL: the message is gone"),
    _text("state", "held, released or deleted", "held"),
    Column("released_at", Moment, comment="UTC"),
    _text("reason", "why it was released or deleted"),
    CheckConstraint("state IN ('held', 'released', 'deleted')", name="state_is_held_released_or_deleted"),
    Index("held_state_expires", "state", "expires"),
    comment="copies in quarantine",
)

notice = Table(
    "notice",
    metadata,
    Column("digest", LargeBinary, primary_key=True, nullable=False, comment="SHA-256 of what the notice is about"),
    Column("at", Moment, nullable=False, comment="UTC"),
    _text("recipient", "who was told"),
    Index("notice_recipient_at", "recipient", "at"),
    comment="notices already sent",
)

journal = Table(
    "journal",
    metadata,
    Column(
        "key", LargeBinary(32), primary_key=True, nullable=False,
        comment="SHA-256 of the message: the same at each of its tries",
    ),
    Column("id", Text, nullable=False, comment="UUID; names of held copies are made from it"),
    _text("queue_id", "the mail server's name for the message at its first try"),
    _text("plan", "what was decided, as a JSON object", "{}"),
    _text("progress", "per recipient: pending, sending, submitted or held; queue ID; possible duplicate", "[]"),
    Column("settled", Boolean, nullable=False, server_default=false(), comment="the verdict was given"),
    _text("holder", "which milter works, or last worked, on it"),
    _text("claim", "UUID of the try that does"),
    Column("lease", Moment, nullable=False, comment="UTC; until then every other try is put off"),
    Column("at", Moment, nullable=False, comment="UTC; when it was last written"),
    CheckConstraint("length(key) = 32", name="key_is_sha256"),
    Index("journal_at", "at"),
    comment="plans that are being carried out, so that a retry finishes them and does nothing twice",
)  # fmt: skip

discovery = Table(
    "discovery",
    metadata,
    Column(
        "hop", Text, primary_key=True, nullable=False,
        comment="next hop: domain or [host], either with :port; lower case, A-labels",
    ),
    Column("found", Text, nullable=False, comment="its mail hosts, DANE and MTA-STS, as a JSON object"),
    Column("at", Moment, nullable=False, comment="UTC; when it was looked up"),
    Column("until", Moment, nullable=False, comment="UTC; then it is looked up anew"),
    CheckConstraint("hop <> '' AND hop = lower(hop)", name="hop_is_lower_case"),
    CheckConstraint("until >= at", name="until_is_not_before_at"),
    Index("discovery_until", "until"),
    comment="cache: what DNS and the web say of next hops; rows may be deleted at any time",
)  # fmt: skip

sts_policy = Table(
    "sts_policy",
    metadata,
    Column("domain", Text, primary_key=True, nullable=False, comment="lower case, A-labels"),
    Column("id", Text, nullable=False, comment="id of the TXT record that the policy was fetched for"),
    Column("text", Text, nullable=False, comment="the policy file as it came"),
    Column("fetched", Moment, nullable=False, comment="UTC; when it was last fetched"),
    Column("max_age", Integer, nullable=False, comment="seconds after that for which it counts"),
    Column("until", Moment, nullable=False, comment="UTC; fetched + max_age"),
    CheckConstraint("domain <> '' AND domain = lower(domain)", name="domain_is_lower_case"),
    CheckConstraint("max_age BETWEEN 0 AND 31557600", name="max_age_is_a_year_at_most"),
    CheckConstraint("length(text) <= 65536", name="text_is_64_kib_at_most"),
    CheckConstraint("until >= fetched", name="until_is_not_before_fetched"),
    Index("sts_policy_until", "until"),
    comment="MTA-STS policies from the last good fetch, which count while their host is down",
)

queued_copy = Table(
    "queued_copy",
    metadata,
    Column("host", Text, primary_key=True, nullable=False, comment="whose milter decided: host name and socket"),
    Column("queue_id", Text, primary_key=True, nullable=False, comment="the mail server's name for the copy"),
    Column("recipient", Text, primary_key=True, nullable=False, comment="envelope recipient"),
    _text("message", "the mail server's name for the message that it was made from"),
    _text("message_id", "Message-ID with its angle brackets"),
    _text("sender", "envelope sender"),
    _text("demand", "what was demanded for this recipient"),
    _text("treatment", "how the copy goes"),
    Column("automatic", Boolean, nullable=False, server_default=false(), comment="no person sent the message"),
    _text("status", "sent, deferred, bounced, expired or deleted; empty: nothing was told yet"),
    _text("dsn", "enhanced status code of the last delivery"),
    Column(
        "waited", Integer, nullable=False, server_default="0",
        comment="seconds for which it had been queued when it was deferred last",
    ),
    Column("told", Boolean, nullable=False, server_default=false(), comment="its sender was told that it waits"),
    Column("at", Moment, nullable=False, comment="UTC; when it was last written"),
    Index("queued_copy_status", "host", "status"),
    comment="protected copies whose deliveries are followed in the mail server's log, and those lately delivered",
)  # fmt: skip

early_delivery = Table(
    "early_delivery",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("host", Text, nullable=False, comment="whose log told it"),
    Column("queue_id", Text, nullable=False, comment="the mail server's name for the copy"),
    Column("told", Text, nullable=False, comment="what the log told, as a JSON object"),
    Column("at", Moment, nullable=False, comment="UTC; when it was written"),
    Index("early_delivery_host_queue_id", "host", "queue_id"),
    comment="deliveries that were logged before the decision about their message was recorded",
)

log_position = Table(
    "log_position",
    metadata,
    Column("host", Text, primary_key=True, nullable=False, comment="whose log it is"),
    Column("place", Text, nullable=False, comment="how far the log was followed, as a JSON object"),
    Column("sequence", BigInteger, nullable=False, comment="how far the recorded decisions were"),
    Column("at", Moment, nullable=False, comment="UTC; when it was written"),
    comment="how far each host's mail server's log was followed",
)


@compiles(CreateColumn, "sqlite")
def _with_comment(element: CreateColumn, compiler: DDLCompiler, **_: object) -> str:
    """SQLite has no comments on columns, but keeps those that stand in CREATE TABLE."""
    column = compiler.visit_create_column(element)  # type: ignore[no-untyped-call]
    comment = element.element.comment
    return f"{column} /* {comment} */" if column and comment else column
