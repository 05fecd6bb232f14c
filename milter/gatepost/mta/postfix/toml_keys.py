"""
Keys set in the text of a TOML file, its comments and order kept.

Only what setup needs: a string value of a key in a top-level table.
"""

import re
import tomllib

from gatepost.errors import ConfigError


def with_key(text: str, table: str, key: str, value: str) -> str:
    """Set `key` in `[table]` to a string; a table or key that is not there is added."""
    line = f'{key} = "{_escaped(value)}"'
    header = re.search(rf"^[ \t]*\[{re.escape(table)}\][ \t]*(?:#[^\n]*)?$", text, re.MULTILINE)
    if header is None:
        edited = f"{text.rstrip()}\n\n[{table}]\n{line}\n".lstrip("\n")
    else:
        following = re.compile(r"^[ \t]*\[", re.MULTILINE).search(text, header.end())
        end = following.start() if following else len(text)
        edited = text[: header.end()] + _in_table(text[header.end() : end], key, line) + text[end:]
    _check(edited, table, key, value)
    return edited


def _in_table(body: str, key: str, line: str) -> str:
    setting = re.compile(rf"^([ \t]*){re.escape(key)}[ \t]*=[ \t]*(?:\"[^\"\n]*\"|'[^'\n]*')", re.MULTILINE)
    if setting.search(body):
        return setting.sub(lambda found: found[1] + line, body, count=1)
    return f"\n{line}{body}" if body else f"\n{line}\n"


def _check(text: str, table: str, key: str, value: str) -> None:
    try:
        written = tomllib.loads(text)[table][key]
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        written = None
    if written != value:
        raise ConfigError(
            f'gatepost.toml: could not set {key} in [{table}]: write `{key} = "{value}"` there yourself'
        )


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
