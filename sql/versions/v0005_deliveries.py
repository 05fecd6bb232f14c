"""
Deliveries: copies that are followed in the mail server's log, and how far each host's log was followed.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _text(name: str, comment: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False, comment=comment)


def upgrade() -> None:
    op.create_table(
        "queued_copy",
        sa.Column("host", sa.Text(), nullable=False, comment="whose milter decided: host name and socket"),
        sa.Column("queue_id", sa.Text(), nullable=False, comment="the mail server's name for the copy"),
        sa.Column("recipient", sa.Text(), nullable=False, comment="envelope recipient"),
        _text("message", "the mail server's name for the message that it was made from"),
        _text("message_id", "Message-ID with its angle brackets"),
        _text("sender", "envelope sender"),
        _text("demand", "what was demanded for this recipient"),
        _text("treatment", "how the copy goes"),
        sa.Column(
            "automatic",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="no person sent the message",
        ),
        _text("status", "sent, deferred, bounced, expired or deleted; empty: nothing was told yet"),
        _text("dsn", "enhanced status code of the last delivery"),
        sa.Column(
            "waited",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="seconds for which it had been queued when it was deferred last",
        ),
        sa.Column(
            "told",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="its sender was told that it waits",
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="UTC; when it was last written"),
        sa.PrimaryKeyConstraint("host", "queue_id", "recipient"),
        comment="protected copies whose deliveries are followed in the mail server's log, and those lately"
        " delivered",
    )
    op.create_index("queued_copy_status", "queued_copy", ["host", "status"], unique=False)
    op.create_table(
        "early_delivery",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("host", sa.Text(), nullable=False, comment="whose log told it"),
        sa.Column("queue_id", sa.Text(), nullable=False, comment="the mail server's name for the copy"),
        sa.Column("told", sa.Text(), nullable=False, comment="what the log told, as a JSON object"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="UTC; when it was written"),
        sa.PrimaryKeyConstraint("id"),
        comment="deliveries that were logged before the decision about their message was recorded",
    )
    op.create_index("early_delivery_host_queue_id", "early_delivery", ["host", "queue_id"], unique=False)
    op.create_table(
        "log_position",
        sa.Column("host", sa.Text(), nullable=False, comment="whose log it is"),
        sa.Column("place", sa.Text(), nullable=False, comment="how far the log was followed, as a JSON object"),
        sa.Column("sequence", sa.BigInteger(), nullable=False, comment="how far the recorded decisions were"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="UTC; when it was written"),
        sa.PrimaryKeyConstraint("host"),
        comment="how far each host's mail server's log was followed",
    )


def downgrade() -> None:
    op.drop_table("log_position")
    op.drop_table("early_delivery")
    op.drop_table("queued_copy")
