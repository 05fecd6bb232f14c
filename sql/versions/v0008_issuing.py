"""
Issuing: the site's own authority, and requests that wait for a certificate.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "authority",
        sa.Column("fingerprint", sa.Text(), nullable=False, comment="SHA-256 of the certificate, upper-case hex"),
        sa.Column("certificate", sa.LargeBinary(), nullable=False, comment="DER"),
        sa.Column("private", sa.LargeBinary(), nullable=False, comment="its key, sealed to the secret `keys`"),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False, comment="UTC"),
        sa.Column("added", sa.DateTime(timezone=True), nullable=False, comment="UTC; the latest one issues"),
        sa.PrimaryKeyConstraint("fingerprint"),
        comment="the site's own authorities for S/MIME certificates",
    )
    op.create_table(
        "key_request",
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the public key, upper-case hex"),
        sa.Column("owner", sa.Text(), nullable=False, comment="address or domain that it is for"),
        sa.Column("private", sa.LargeBinary(), nullable=False, comment="its key, sealed to the secret `keys`"),
        sa.Column("added", sa.DateTime(timezone=True), nullable=False, comment="UTC"),
        sa.PrimaryKeyConstraint("digest"),
        comment="requests for certificates that an outside authority has not answered yet",
    )


def downgrade() -> None:
    op.drop_table("key_request")
    op.drop_table("authority")
