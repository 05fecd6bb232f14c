"""
The first schema: partners, keys, threads, events, held copies, notices.

Written out, not taken from `gatepost.db.tables`: a migration stays what it was when the tables change.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="UTC"),
        sa.Column(
            "queue_id",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="the mail server's name for the message",
        ),
        sa.Column(
            "message_id",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="Message-ID with its angle brackets",
        ),
        sa.Column(
            "direction", sa.Text(), server_default="", nullable=False, comment="out, internal, in or transit"
        ),
        sa.Column("sender", sa.Text(), server_default="", nullable=False, comment="envelope sender"),
        sa.Column("recipient", sa.Text(), server_default="", nullable=False, comment="envelope recipient"),
        sa.Column(
            "demand", sa.Text(), server_default="", nullable=False, comment="what was demanded for this recipient"
        ),
        sa.Column("treatment", sa.Text(), server_default="", nullable=False, comment="how the copy went"),
        sa.Column(
            "rules",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="names of the rules that matched, a line each",
        ),
        sa.Column("reasons", sa.Text(), server_default="", nullable=False, comment="why, a line each"),
        sa.Column(
            "detail", sa.Text(), server_default="{}", nullable=False, comment="more about it, as a JSON object"
        ),
        sa.PrimaryKeyConstraint("id"),
        comment="what was decided for each recipient, and how it went",
    )
    op.create_index("event_message_id", "event", ["message_id"], unique=False)
    op.create_index("event_queue_id", "event", ["queue_id"], unique=False)
    op.create_table(
        "held",
        sa.Column("id", sa.Text(), nullable=False, comment="UUID"),
        sa.Column(
            "queue_id",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="the mail server's name for the message",
        ),
        sa.Column(
            "sender",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="envelope sender as given, with brackets",
        ),
        sa.Column(
            "sender_parameters",
            sa.Text(),
            server_default="[]",
            nullable=False,
            comment="ESMTP parameters of MAIL, as a JSON list",
        ),
        sa.Column(
            "recipients",
            sa.Text(),
            server_default="[]",
            nullable=False,
            comment="RCPT arguments as given, with their ESMTP parameters, as a JSON list",
        ),
        sa.Column(
            "client",
            sa.Text(),
            server_default="{}",
            nullable=False,
            comment="who handed the message in, as a JSON object",
        ),
        sa.Column("subject", sa.Text(), server_default="", nullable=False, comment="decoded"),
        sa.Column(
            "message_id",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="Message-ID with its angle brackets",
        ),
        sa.Column("cause", sa.Text(), server_default="", nullable=False, comment="why it is held"),
        sa.Column(
            "rules",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="names of the rules that held it, a line each",
        ),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, comment="UTC"),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False, comment="UTC"),
        sa.Column(
            "blob", sa.Text(), server_default="", nullable=False, comment="name of the sealed message in the vault"
        ),
        sa.Column(
            "data_key",
            sa.LargeBinary(),
            nullable=True,
            comment="the blob's key, wrapped for the vault; NULL: the message is gone",
        ),
        sa.Column("state", sa.Text(), server_default="held", nullable=False, comment="held, released or deleted"),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True, comment="UTC"),
        sa.Column(
            "reason", sa.Text(), server_default="", nullable=False, comment="why it was released or deleted"
        ),
        sa.CheckConstraint("state IN ('held', 'released', 'deleted')", name="state_is_held_released_or_deleted"),
        sa.PrimaryKeyConstraint("id"),
        comment="copies in quarantine",
    )
    op.create_index("held_state_expires", "held", ["state", "expires"], unique=False)
    op.create_table(
        "key",
        sa.Column("fingerprint", sa.Text(), nullable=False, comment="upper-case hex"),
        sa.Column("owner", sa.Text(), nullable=False, comment="address or domain that it is used for"),
        sa.Column("kind", sa.Text(), nullable=False, comment="openpgp or smime"),
        sa.Column("certificate", sa.LargeBinary(), nullable=False, comment="public half: binary OpenPGP or DER"),
        sa.Column("trust", sa.Text(), nullable=False, comment="admin, dnssec, wkd, ca, keyserver or harvested"),
        sa.Column("source", sa.Text(), server_default="", nullable=False, comment="where it came from"),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=True, comment="UTC; NULL: never"),
        sa.Column(
            "own",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="the site holds the private half",
        ),
        sa.Column("private", sa.LargeBinary(), nullable=True, comment="private half, sealed to the secret `keys`"),
        sa.Column("added", sa.DateTime(timezone=True), nullable=False, comment="UTC"),
        sa.CheckConstraint("kind IN ('openpgp', 'smime')", name="kind_is_openpgp_or_smime"),
        sa.CheckConstraint("owner <> ''", name="owner_is_given"),
        sa.CheckConstraint(
            "trust IN ('admin', 'dnssec', 'wkd', 'ca', 'keyserver', 'harvested')", name="trust_is_a_known_level"
        ),
        sa.PrimaryKeyConstraint("fingerprint", "owner"),
        comment="OpenPGP keys and S/MIME certificates, theirs and ours",
    )
    op.create_index("key_owner", "key", ["owner"], unique=False)
    op.create_table(
        "notice",
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="SHA-256 of what the notice is about"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="UTC"),
        sa.Column("recipient", sa.Text(), server_default="", nullable=False, comment="who was told"),
        sa.PrimaryKeyConstraint("digest"),
        comment="notices already sent",
    )
    op.create_index("notice_recipient_at", "notice", ["recipient", "at"], unique=False)
    op.create_table(
        "partner",
        sa.Column(
            "pattern",
            sa.Text(),
            nullable=False,
            comment="address, domain, or .domain with its subdomains; lower case, domains as A-labels (xn--)",
        ),
        sa.Column(
            "demand",
            sa.Text(),
            server_default="none",
            nullable=False,
            comment="how mail to this partner must be protected: none, tls or encrypt",
        ),
        sa.Column(
            "ladder",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="treatments, best first, comma-separated: tls, openpgp, smime, pdf, securedoc, pickup",
        ),
        sa.Column(
            "tls",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="how TLS is assured: empty, verify, dane, mta-sts or fingerprint:SHA-256 in lower-case hex",
        ),
        sa.Column(
            "tls_name",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="with verify: the name that the certificate must bear; empty: the domain",
        ),
        sa.Column(
            "tls_ca",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="with verify: PEM file of the CA that must have issued it; empty: the system's",
        ),
        sa.Column(
            "nexthop",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="where mail on the TLS route goes: host, [host] or either with :port; empty: by MX",
        ),
        sa.Column(
            "inbound",
            sa.Text(),
            server_default="none",
            nullable=False,
            comment="how mail from this partner must come: none, tls or encrypt",
        ),
        sa.Column(
            "inbound_action",
            sa.Text(),
            server_default="flag",
            nullable=False,
            comment="what happens to mail that came otherwise: flag, quarantine or tempfail",
        ),
        sa.Column("note", sa.Text(), server_default="", nullable=False, comment="for admins"),
        sa.CheckConstraint("demand IN ('none', 'tls', 'encrypt')", name="demand_is_none_tls_or_encrypt"),
        sa.CheckConstraint("inbound IN ('none', 'tls', 'encrypt')", name="inbound_is_none_tls_or_encrypt"),
        sa.CheckConstraint(
            "inbound_action IN ('flag', 'quarantine', 'tempfail')",
            name="inbound_action_is_flag_quarantine_or_tempfail",
        ),
        sa.CheckConstraint(
            "ladder = '' OR replace(replace(replace(replace(replace(replace(',' || replace(replace(ladder, "
            "' ', ''), ',', ',,') || ',', ',tls,', ''), ',openpgp,', ''), ',smime,', ''), ',pdf,', ''), "
            "',securedoc,', ''), ',pickup,', '') = ''",
            name="ladder_names_treatments",
        ),
        sa.CheckConstraint(
            "ltrim(nexthop, 'abcdefghijklmnopqrstuvwxyz0123456789._-[]:') = ''", name="nexthop_is_host_or_port"
        ),
        sa.CheckConstraint(
            "pattern <> '' AND (rtrim(pattern, 'abcdefghijklmnopqrstuvwxyz0123456789._-') = '' OR "
            "rtrim(pattern, 'abcdefghijklmnopqrstuvwxyz0123456789._-') LIKE '%_@') AND pattern NOT LIKE '% "
            "%' AND pattern NOT LIKE '%@' AND pattern NOT LIKE '%@.%' AND pattern NOT LIKE '%..%' AND "
            "pattern NOT LIKE '%.'",
            name="pattern_is_address_domain_or_dot_domain",
        ),
        sa.CheckConstraint(
            "tls IN ('', 'verify', 'dane', 'mta-sts') OR (length(tls) = 76 AND substr(tls, 1, 12) = "
            "'fingerprint:' AND ltrim(substr(tls, 13), '0123456789abcdef') = '')",
            name="tls_is_verify_dane_mta_sts_or_fingerprint",
        ),
        sa.CheckConstraint("tls_ca = '' OR (tls = 'verify' AND tls_ca LIKE '/%')", name="tls_ca_needs_verify"),
        sa.CheckConstraint(
            "tls_name = '' OR (tls = 'verify' AND ltrim(tls_name, "
            "'abcdefghijklmnopqrstuvwxyz0123456789._-') = '')",
            name="tls_name_needs_verify",
        ),
        sa.CheckConstraint("pattern = lower(pattern)", name="pattern_is_lower_case"),
        sa.PrimaryKeyConstraint("pattern"),
        comment="how mail to and from each partner is protected",
    )
    op.create_index(
        "partner_nexthop",
        "partner",
        ["nexthop"],
        sqlite_where=sa.text("nexthop <> ''"),
        postgresql_where=sa.text("nexthop <> ''"),
    )
    op.create_index(
        "partner_domain",
        "partner",
        [sa.text("substr(pattern, length(rtrim(pattern, 'abcdefghijklmnopqrstuvwxyz0123456789._-')) + 1)")],
    )
    op.create_table(
        "thread",
        sa.Column("message_id", sa.LargeBinary(length=32), nullable=False, comment="SHA-256 of the Message-ID"),
        sa.Column("inside", sa.Text(), nullable=False, comment="address of ours"),
        sa.Column("outside", sa.Text(), nullable=False, comment="address of the correspondent"),
        sa.Column("cause", sa.Text(), nullable=False, comment="protected, decrypted or portal"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="UTC"),
        sa.CheckConstraint("cause IN ('protected', 'decrypted', 'portal')", name="cause_is_known"),
        sa.CheckConstraint("length(message_id) = 32", name="message_id_is_sha256"),
        sa.PrimaryKeyConstraint("message_id", "inside", "outside"),
        comment="messages of conversations that were protected",
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for table in ("event", "held", "key", "notice", "partner", "thread"):
        op.drop_table(table)
