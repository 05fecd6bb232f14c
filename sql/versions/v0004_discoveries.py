"""
What DNS and the web say of next hops: a cache that all hosts share, and the MTA-STS policies fetched last.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "discovery",
        sa.Column(
            "hop",
            sa.Text(),
            nullable=False,
            comment="next hop: domain or [host], either with :port; lower case, A-labels",
        ),
        sa.Column(
            "found", sa.Text(), nullable=False, comment="its mail hosts, DANE and MTA-STS, as a JSON object"
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="UTC; when it was looked up"),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False, comment="UTC; then it is looked up anew"),
        sa.CheckConstraint("hop <> '' AND hop = lower(hop)", name="hop_is_lower_case"),
        sa.CheckConstraint("until >= at", name="until_is_not_before_at"),
        sa.PrimaryKeyConstraint("hop"),
        comment="cache: what DNS and the web say of next hops; rows may be deleted at any time",
    )
    op.create_index("discovery_until", "discovery", ["until"], unique=False)
    op.create_table(
        "sts_policy",
        sa.Column("domain", sa.Text(), nullable=False, comment="lower case, A-labels"),
        sa.Column("id", sa.Text(), nullable=False, comment="id of the TXT record that the policy was fetched for"),
        sa.Column("text", sa.Text(), nullable=False, comment="the policy file as it came"),
        sa.Column("fetched", sa.DateTime(timezone=True), nullable=False, comment="UTC; when it was last fetched"),
        sa.Column("max_age", sa.Integer(), nullable=False, comment="seconds after that for which it counts"),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False, comment="UTC; fetched + max_age"),
        sa.CheckConstraint("domain <> '' AND domain = lower(domain)", name="domain_is_lower_case"),
        sa.CheckConstraint("max_age BETWEEN 0 AND 31557600", name="max_age_is_a_year_at_most"),
        sa.CheckConstraint("length(text) <= 65536", name="text_is_64_kib_at_most"),
        sa.CheckConstraint("until >= fetched", name="until_is_not_before_fetched"),
        sa.PrimaryKeyConstraint("domain"),
        comment="MTA-STS policies from the last good fetch, which count while their host is down",
    )
    op.create_index("sts_policy_until", "sts_policy", ["until"], unique=False)


def downgrade() -> None:
    op.drop_table("sts_policy")
    op.drop_table("discovery")
