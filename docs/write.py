"""
Writes what documentation the code itself holds: docs/settings.md and the manual pages.

Run by `make docs`. A test fails while the files differ from what this would write.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from lab import faults
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gatepost.cli.main import app
from gatepost.settings import Settings

DOCS = Path(__file__).parent
_BEGIN, _END = "<!-- faults: written by `make docs` -->\n", "<!-- end of faults -->\n"


def pages() -> dict[Path, str]:
    """Give every written file and its text."""
    return {
        DOCS / "settings.md": settings_page(),
        DOCS / "security.md": security_page(),
        DOCS / "man" / "gatepost.toml.5": settings_manual(),
        DOCS / "man" / "gatepost.1": command_manual(),
    }


def security_page() -> str:
    """Give docs/security.md with the fault matrix in its place."""
    before, _, rest = (DOCS / "security.md").read_text(encoding="utf-8").partition(_BEGIN)
    return before + _BEGIN + fault_matrix() + _END + rest.partition(_END)[2]


def fault_matrix() -> str:
    """Write the fault matrix of lab.faults: a row for each fault, a column for each point."""
    points = [f"{number}. {point}" for number, point in enumerate(faults.POINTS, 1)]
    mixes = [f"{number}. {text}" for number, text in enumerate(faults.MIXES.values(), 1)]
    codes = [f"* `{code}`: {text}" for code, text in faults.CODES.items()]
    numbers = [str(number) for number in range(1, len(points) + 1)]
    table = [f"| fault | {' | '.join(numbers)} |", "|---|" + "---|" * len(numbers)]
    table += [f"| {one.fault} | {' | '.join(map(_cell, one.cells))} |" for one in faults.ROWS]
    return "\n".join(
        [
            "Points:",
            "",
            *points,
            "",
            "Mail, in this order where a cell tells it apart:",
            "",
            *mixes,
            "",
            "Codes:",
            "",
            *codes,
            "",
            *table,
            "",
            "Why `-`:",
            "",
            *_reasons(),
            "",
        ]
    )


def _cell(codes: tuple[str, ...]) -> str:
    return codes[0] if len(set(codes)) == 1 else " ".join(codes)


def _reasons() -> Iterator[str]:
    """Name the rows that share a reason together."""
    reasons: dict[str, list[str]] = {}
    for one in faults.ROWS:
        reasons.setdefault(one.never, []).append(one.fault)
    for reason, names in reasons.items():
        yield f"* {', '.join(names)}: {reason}."


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Give each section of the settings file and its model."""
    for name, field in Settings.model_fields.items():
        assert isinstance(field.annotation, type)  # noqa: S101 - every section is a model
        yield name, field.annotation


def default_of(field: FieldInfo) -> str:
    """Write a key's default as TOML."""
    if field.is_required():
        return "none: must be set"
    if field.default_factory is not None:
        return "the host's full name"
    value: Any = field.default
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(value, ensure_ascii=False)


def settings_page() -> str:
    """Write docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Every key of `gatepost.toml`. An unknown key is an error; all errors are told at once. A relative path",
        "is relative to the file's directory. `gatepost init` writes a file with the keys that a site needs.",
        "This page is written by `make docs`.",
    ]
    for name, model in sections():
        lines += ["", f"## [{name}]", "", str(model.__doc__), "", "| key | default | meaning |", "|---|---|---|"]
        lines += [
            f"| `{key}` | `{default_of(field)}` | {field.description} |"
            for key, field in model.model_fields.items()
        ]
    return "\n".join(lines) + "\n"


def settings_manual() -> str:
    """Write the manual page gatepost.toml(5)."""
    lines = [
        *_head("gatepost.toml", 5, "settings of a Gatepost site"),
        ".SH DESCRIPTION",
        "TOML. An unknown key is an error. A relative path is relative to the file's directory.",
    ]
    for name, model in sections():
        lines += [f".SH [{name.upper()}]", _roff(str(model.__doc__))]
        for key, field in model.model_fields.items():
            lines += [
                ".TP",
                f".B {_roff(key)}",
                _roff(field.description or ""),
                ".br",
                f"Default: {_roff(default_of(field))}",
            ]
    return "\n".join([*lines, ".SH SEE ALSO", ".BR gatepost (1)"]) + "\n"


def command_manual() -> str:
    """Write the manual page gatepost(1)."""
    root = typer.main.get_command(app)
    lines = [
        *_head("gatepost", 1, "e-mail encryption gateway"),
        ".SH SYNOPSIS",
        r".B gatepost [\-c FILE] [\-\-json] COMMAND ...",
        ".SH DESCRIPTION",
        _roff("The global options are understood before and after the command."),
        *_parameters(root),
        ".SH COMMANDS",
    ]
    for path, command in commands(root):
        lines += [f".SS {_roff(' '.join((*path, *_arguments(command))))}", _roff(_help(command))]
        lines += _parameters(command)
    return (
        "\n".join(
            [
                *lines,
                ".SH EXIT STATUS",
                "0 done; 1 refused, not found or broken, with the reason on stderr; 2 wrong usage.",
                ".SH ENVIRONMENT",
                ".TP",
                r".B GATEPOST_CONFIG",
                "The settings file, if no option names one.",
                ".TP",
                r".B GATEPOST_DEBUG",
                "If set, an internal error prints its traceback.",
                ".TP",
                r".B CREDENTIALS_DIRECTORY",
                "Secrets found there win over the site's secret files (systemd credentials).",
                ".SH FILES",
                ".I /etc/gatepost/gatepost.toml",
                ".SH SEE ALSO",
                ".BR gatepost.toml (5)",
            ]
        )
        + "\n"
    )


def commands(command: Any, path: tuple[str, ...] = ("gatepost",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give every command that does something, with the words that call it."""
    for name, child in getattr(command, "commands", {}).items():
        if getattr(child, "commands", None):
            yield from commands(child, (*path, name))
        else:
            yield (*path, name), child


def options(command: Any) -> Iterator[Any]:
    """Give the options of a command, but for --help."""
    yield from (found for found in command.params if found.param_type_name == "option" and found.name != "help")


def _arguments(command: Any) -> list[str]:
    found = (each for each in command.params if each.param_type_name == "argument")
    named = ((each, (each.metavar or each.name.upper()) + ("..." if each.nargs == -1 else "")) for each in found)
    return [name if each.required else f"[{name}]" for each, name in named]


def _parameters(command: Any) -> list[str]:
    lines: list[str] = []
    for option in options(command):
        names = ", ".join((*option.opts, *option.secondary_opts))
        lines += [".TP", f".B {_roff(names)}", _roff(option.help or "")]
    return lines


def _help(command: Any) -> str:
    return " ".join((command.help or "").split())


def _head(name: str, section: int, purpose: str) -> list[str]:
    return [f'.TH {name.upper()} {section} "" Gatepost', ".SH NAME", rf"{name} \- {_roff(purpose)}"]


def _roff(text: str) -> str:
    r"""Escape what roff would read as a command: backslash, minus, and a dot or quote that opens a line."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    for page, text in pages().items():
        page.parent.mkdir(exist_ok=True)
        page.write_text(text, encoding="utf-8")
