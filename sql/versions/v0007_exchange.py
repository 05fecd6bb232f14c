"""
Exchanges: encrypted messages that came in, by digests, with who first brought them and for whom.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def _digest(name: str, comment: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(32), nullable=False, comment=comment)


def upgrade() -> None:
    op.create_table(
        "exchange",
        _digest("digest", "SHA-256 of a key-exchange packet's own data, or of the encrypted content"),
        _digest("author", "SHA-256 of who first brought it: the address in From, and Reply-To"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="UTC"),
        sa.CheckConstraint("length(digest) = 32 AND length(author) = 32", name="digests_are_sha256"),
        sa.PrimaryKeyConstraint("digest"),
        sqlite_with_rowid=False,
        comment="encrypted messages that came in; the same under another author is a replay",
    )
    op.create_table(
        "addressee",
        _digest("digest", "SHA-256 of the encrypted content, as in table exchange"),
        _digest("author", "as in table exchange"),
        _digest("recipient", "SHA-256 of the address, lower case"),
        sa.PrimaryKeyConstraint("digest", "author", "recipient"),
        sqlite_with_rowid=False,
        comment="for whom encrypted messages came in",
    )


def downgrade() -> None:
    op.drop_table("addressee")
    op.drop_table("exchange")
