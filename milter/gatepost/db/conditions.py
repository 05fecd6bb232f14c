"""
Conditions that rows must meet, written in the SQL that SQLite and PostgreSQL share.

`ltrim` and `rtrim` with a set of characters tell whether a text holds others.
"""

NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
LADDER_WORDS = ("tls", "openpgp", "smime", "pdf", "securedoc", "pickup")


def only(column: str, characters: str) -> str:
    """Write the condition that a column holds no other characters."""
    return f"ltrim({column}, '{characters}') = ''"


def names_treatments() -> str:
    """Write the condition that the ladder, comma-separated, holds treatments only; blanks do not matter."""
    rest = "',' || replace(replace(ladder, ' ', ''), ',', ',,') || ','"
    for word in LADDER_WORDS:
        rest = f"replace({rest}, ',{word},', '')"
    return f"ladder = '' OR {rest} = ''"


def is_pattern() -> str:
    """Write the condition that a pattern ends in a domain of A-labels, after nothing or after `local@`."""
    local = f"rtrim(pattern, '{NAME_CHARACTERS}')"
    return (
        f"pattern <> '' AND ({local} = '' OR {local} LIKE '%_@') AND pattern NOT LIKE '% %'"
        " AND pattern NOT LIKE '%@' AND pattern NOT LIKE '%@.%' AND pattern NOT LIKE '%..%'"
        " AND pattern NOT LIKE '%.'"
    )


IS_FINGERPRINT = (
    f"length(tls) = 76 AND substr(tls, 1, 12) = 'fingerprint:' AND {only('substr(tls, 13)', '0123456789abcdef')}"
)
