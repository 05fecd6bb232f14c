"""
When mail to a partner is signed, the weakest cipher for it, and what correspondents announced that they can read.

Columns are added by ALTER TABLE on both databases: to make the table anew, as SQLite is often served, would lose
what Alembic does not know of it, such as its index on an expression.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_FLOORS = "'', 'aes128-cbc', 'aes256-cbc', 'aes256-gcm'"
_COLUMNS = (  # table, column, type and default, constraint, comment
    (
        "partner",
        "sign",
        "TEXT DEFAULT '' NOT NULL",
        "CONSTRAINT sign_is_never_protected_or_always CHECK (sign IN ('', 'never', 'protected', 'always'))",
        "when mail to this partner is signed: empty (as set), never, protected or always",
    ),
    (
        "partner",
        "cipher_floor",
        "TEXT DEFAULT '' NOT NULL",
        f"CONSTRAINT cipher_floor_is_a_cipher CHECK (cipher_floor IN ({_FLOORS}))",
        "weakest cipher for S/MIME: empty, aes128-cbc, aes256-cbc or aes256-gcm",
    ),
    (
        "key",
        "capabilities",
        "",
        "",
        "SMIMECapabilities in DER that the last mail with its valid signature announced; NULL: none yet",
    ),
)


def upgrade() -> None:
    sqlite = op.get_context().dialect.name == "sqlite"
    binary = "BLOB" if sqlite else "BYTEA"
    for table, column, kind, constraint, comment in _COLUMNS:
        definition = f"ALTER TABLE {table} ADD COLUMN {column} {kind or binary}"
        if sqlite:
            op.execute(f"{definition} /* {comment} */ {constraint};")
        else:
            op.execute(f"{definition} {constraint}")
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{comment}'")


def downgrade() -> None:
    for table, column, *_ in reversed(_COLUMNS):
        op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
