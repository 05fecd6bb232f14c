"""
The journal of plans that are being carried out.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "journal",
        sa.Column(
            "key",
            sa.LargeBinary(length=32),
            nullable=False,
            comment="SHA-256 of the message: the same at each of its tries",
        ),
        sa.Column("id", sa.Text(), nullable=False, comment="UUID; names of held copies are made from it"),
        sa.Column(
            "queue_id",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="the mail server's name for the message at its first try",
        ),
        sa.Column(
            "plan", sa.Text(), server_default="{}", nullable=False, comment="what was decided, as a JSON object"
        ),
        sa.Column(
            "progress",
            sa.Text(),
            server_default="[]",
            nullable=False,
            comment="per recipient: pending, sending, submitted or held; queue ID; possible duplicate",
        ),
        sa.Column(
            "settled", sa.Boolean(), server_default=sa.false(), nullable=False, comment="the verdict was given"
        ),
        sa.Column(
            "holder",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="which milter works, or last worked, on it",
        ),
        sa.Column("claim", sa.Text(), server_default="", nullable=False, comment="UUID of the try that does"),
        sa.Column(
            "lease",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="UTC; until then every other try is put off",
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="UTC; when it was last written"),
        sa.CheckConstraint("length(key) = 32", name="key_is_sha256"),
        sa.PrimaryKeyConstraint("key"),
        comment="plans that are being carried out, so that a retry finishes them and does nothing twice",
    )
    op.create_index("journal_at", "journal", ["at"], unique=False)


def downgrade() -> None:
    op.drop_table("journal")
