"""Documents and code say the same: settings with their defaults, commands with their options, links."""

import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from gatepost.cli.main import app

ROOT = Path(__file__).parents[2]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_write", ROOT / "docs" / "write.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WRITE = generator()
COMMANDS: list[tuple[tuple[str, ...], Any]] = list(WRITE.commands(typer.main.get_command(app)))


@pytest.mark.parametrize(("page", "text"), WRITE.pages().items(), ids=lambda value: getattr(value, "name", ""))
def test_written_pages_are_current(page: Path, text: str) -> None:
    """The pages that are written from the code are those that the code would write now; else run `make docs`."""
    assert page.read_text(encoding="utf-8") == text


def test_every_setting_has_a_description_and_its_default() -> None:
    """Every key stands in docs/settings.md with its description and the model's default."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for section, model in WRITE.sections():
        for key, field in model.model_fields.items():
            assert field.description, f"[{section}] {key} has no description"
            assert f"| `{key}` | `{WRITE.default_of(field)}` | {field.description} |" in page


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path[1:]) for path, _ in COMMANDS])
def test_every_command_and_option_is_explained(path: tuple[str, ...], command: Any) -> None:
    """Every command has a help text, every option too, and both stand in the manual page."""
    manual = (ROOT / "docs" / "man" / "gatepost.1").read_text(encoding="utf-8").replace(r"\-", "-")
    assert f".SS {' '.join(path)}" in manual
    assert command.help
    for option in WRITE.options(command):
        assert option.help, f"{' '.join(path)} {option.opts[0]} has no help"
        assert option.opts[0] in manual


def tracked(suffix: str) -> list[Path]:
    found = subprocess.run(
        ["git", "ls-files", f"*{suffix}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return [ROOT / name for name in found.stdout.splitlines()] or sorted((ROOT / "docs").rglob(f"*{suffix}"))


@pytest.mark.parametrize("page", tracked(".md"), ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a document names a file that exists."""
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []
