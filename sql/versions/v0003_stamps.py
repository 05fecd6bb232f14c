"""
Stamps, which prove that events are as they were written; each event's kind, host and place in that host's chain.

Events that are there already belong to no host and are covered by no stamp; their number becomes their place.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NEW = (
    (
        sa.Column("kind", sa.Text(), server_default="message", nullable=False),
        "message, possible-duplicate, release or delivery",
    ),
    (
        sa.Column("host", sa.Text(), server_default="", nullable=False),
        "whose milter wrote it: host name and socket; empty: before there were stamps",
    ),
    (
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
        "its place among the events of this host, without gaps",
    ),
)


def upgrade() -> None:
    for column, comment in _NEW:
        _add(column, comment)
    op.execute("UPDATE event SET sequence = id")
    op.create_index("event_host_sequence", "event", ["host", "sequence"], unique=True)
    op.create_table(
        "stamp",
        sa.Column("host", sa.Text(), nullable=False, comment="whose events it covers"),
        sa.Column(
            "number",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="its place in the chain of this host's stamps, without gaps",
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="UTC"),
        sa.Column("first", sa.BigInteger(), nullable=False, comment="sequence of the first event that it covers"),
        sa.Column(
            "last",
            sa.BigInteger(),
            nullable=False,
            comment="sequence of the last one; first - 1: it covers none",
        ),
        sa.Column("digests", sa.LargeBinary(), nullable=False, comment="SHA-256 of each event, in order"),
        sa.Column(
            "purged",
            sa.BigInteger(),
            nullable=False,
            comment="the last stamp that expiry deleted; 0: it deleted none",
        ),
        sa.Column("previous", sa.LargeBinary(length=32), nullable=False, comment="code of the stamp before it"),
        sa.Column(
            "code", sa.LargeBinary(length=32), nullable=False, comment="HMAC-SHA256 under a key of the key worker"
        ),
        sa.CheckConstraint("length(code) = 32 AND length(previous) = 32", name="codes_are_sha256"),
        sa.PrimaryKeyConstraint("host", "number"),
        comment="what proves that events are as they were written",
    )


def downgrade() -> None:
    op.drop_table("stamp")
    op.drop_index("event_host_sequence", "event")
    for column, _ in _NEW:
        op.execute(f"ALTER TABLE event DROP COLUMN {column.name}")


def _add(column: sa.Column, comment: str) -> None:
    """Add a column with its comment, which SQLite keeps only as it stands in the statement."""
    if op.get_context().dialect.name == "sqlite":
        definition = sa.schema.CreateColumn(column).compile(dialect=op.get_context().dialect)
        op.execute(f"ALTER TABLE event ADD COLUMN {definition} /* {comment} */")
    else:
        column.comment = comment
        op.add_column("event", column)
