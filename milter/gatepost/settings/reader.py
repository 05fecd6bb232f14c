"""
Reads gatepost.toml: finds every fault at once and names file, section, key, what is wrong and what is allowed.
"""

import difflib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gatepost.errors import ConfigError
from gatepost.settings.model import Settings

_PATHS = (
    ("gateway", "spool"),
    ("postfix", "config_directory"),
    ("keys", "state"),
    ("secrets", "directory"),
    ("rules", "directory"),
)
_WANTED = {  # pydantic's kinds of faults, said in the words of TOML
    "tuple_type": 'a list, such as ["one", "two"]',
    "too_short": "at least one entry",
    "string_type": 'text in quotes, such as "one"',
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "path_type": 'a path in quotes, such as "/var/lib/gatepost"',
    "model_type": "a section in brackets, with its keys below",
    "dict_type": "a section in brackets, with its keys below",
}
_SOCKETS = (("gateway", "socket"), ("keys", "socket"), ("policy", "socket"), ("metrics", "listen"))


def read(path: Path) -> Settings:
    """Read and check the settings; raises ConfigError holding every fault, a line each."""
    table = _load(path)
    base = path.resolve().parent
    _anchor(table, base)
    try:
        return Settings.model_validate(table)
    except ValidationError as error:
        raise ConfigError(*(f"{path}: {_fault(detail)}" for detail in _told_once(error.errors()))) from None


def rendered(settings: Settings) -> dict[str, Any]:
    """Give the effective values, defaults included, as plain data for printing."""
    return settings.model_dump(mode="json")


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file; name one by --config, or make a site by `gatepost init`"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None


def _anchor(table: dict[str, Any], base: Path) -> None:
    """Make relative paths absolute, from the file's own directory."""
    for section, key in (*_PATHS, *_SOCKETS, ("database", "url"), ("vault", "url")):
        values = table.get(section)
        if isinstance(values, dict) and isinstance(values.get(key), str):
            values[key] = _absolute(values[key], base)


def _absolute(text: str, base: Path) -> str:
    """Anchor a path, or the path within `unix:`, `sqlite:///` or `file://`."""
    for prefix in ("unix:", "sqlite:///", "file://"):
        if text.startswith(prefix):
            rest = text.removeprefix(prefix)
            return prefix + str(base / rest) if rest else text
    return text if ":" in text else str(base / text)


def _told_once(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out that a list is too short where its entries are what is wrong."""
    entries = {detail["loc"][:-1] for detail in details}
    return [detail for detail in details if detail["type"] != "too_short" or detail["loc"] not in entries]


def _fault(detail: ErrorDetails) -> str:
    """Say where a fault lies, what is wrong, and what is allowed."""
    place = [part for part in detail["loc"] if isinstance(part, str) and "[" not in part]
    where = f"[{place[0]}] {' '.join(place[1:2])}".rstrip() if place else "the file"
    kind = detail["type"]
    if kind == "extra_forbidden":
        return f"{where}: is unknown; {_allowed(place)}"
    if kind == "missing":
        return f"{where}: is missing; it has no default"
    if kind == "value_error":
        return f"{where}: {detail['msg'].removeprefix('Value error, ')}"
    wanted = _WANTED.get(kind) or detail["msg"].removeprefix("Input should be ")
    return f"{where}: {_shown(detail['input'])}; allowed: {wanted}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - keeps the line readable


def _allowed(place: list[str]) -> str:
    """Name the keys that may stand there, the likeliest first if one is near."""
    model: type[BaseModel] = Settings
    if len(place) > 1:
        section = Settings.model_fields[place[0]].annotation
        model = section if isinstance(section, type) and issubclass(section, BaseModel) else Settings
    known = list(model.model_fields)
    near = difflib.get_close_matches(place[-1], known, n=1)
    return f'did you mean "{near[0]}"?' if near else f"allowed: {', '.join(known)}"
