"""The root of the command line: global options, exit status, no traceback."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gatepost import __main__, __version__
from gatepost.cli import main
from gatepost.cli.invocation import Invocation, columns, invocation, printable
from gatepost.errors import ConfigError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def app() -> typer.Typer:
    """Make a command line like ours with commands that fail in each way."""
    app = typer.Typer(cls=main._Root, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback()(main.root)

    @app.command()
    def refuse() -> None:
        raise ConfigError("one", "two")

    @app.command()
    def crash() -> None:
        raise ZeroDivisionError

    @app.command()
    def incomplete() -> None:
        raise ModuleNotFoundError("No module named 'x'", name="x")

    @app.command()
    def unreadable() -> None:
        raise PermissionError(13, "Permission denied", "/site/gatepost.toml")

    @app.command()
    def show(ctx: typer.Context) -> None:
        call = invocation(ctx)
        call.emit({"config": str(call.config)}, f"config {call.config}")

    return app


@pytest.fixture
def run(app: typer.Typer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command as a process would, and give status, stdout and stderr."""
    monkeypatch.setattr(main, "app", app)

    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["gatepost", *args])
        monkeypatch.setenv("GATEPOST_ROOT_WARNED", "1")
        with pytest.raises(SystemExit) as left:
            __main__.main()
        out = capsys.readouterr()
        return int(left.value.code or 0), out.out, out.err

    return run


def test_every_fault_is_a_line_and_the_status_is_1(run: Run) -> None:
    """A refusal names every fault, a line each, and exits 1."""
    assert run("refuse") == (1, "", "gatepost: one\ngatepost: two\n")


def test_an_internal_error_shows_no_traceback(run: Run) -> None:
    """A bug prints one line that says where it struck."""
    status, out, err = run("crash")
    assert (status, out) == (1, "")
    assert err.startswith("gatepost: internal error: ZeroDivisionError at ")
    assert len(err.splitlines()) == 1


def test_a_missing_library_is_named(run: Run) -> None:
    """An incomplete installation tells which library is missing."""
    status, _, err = run("incomplete")
    assert (status, err.startswith("gatepost: the library x is missing")) == (1, True)


def test_what_the_system_refused_is_named(run: Run) -> None:
    """An unreadable file is named with the system's reason."""
    assert run("unreadable") == (1, "", "gatepost: /site/gatepost.toml: Permission denied\n")


def test_wrong_usage_exits_2(run: Run) -> None:
    """An unknown option is wrong usage."""
    status, _, err = run("show", "--wrong")
    assert status == 2
    assert "--wrong" in err


@pytest.mark.parametrize(
    "args",
    [
        ("-c", "/a.toml", "--json", "show"),
        ("show", "--json", "-c", "/a.toml"),
        ("--json", "show", "--config=/a.toml"),
        ("show", "--config", "/a.toml", "--json"),
    ],
)
def test_global_options_may_stand_anywhere(run: Run, args: tuple[str, ...]) -> None:
    """The global options are understood before and after the command."""
    status, out, _ = run(*args)
    assert (status, json.loads(out)) == (0, {"config": "/a.toml"})


def test_the_environment_names_the_settings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --config, GATEPOST_CONFIG names the settings file, else the one in /etc does."""
    monkeypatch.setenv("GATEPOST_CONFIG", "/env.toml")
    assert run("show")[1] == "config /env.toml\n"
    monkeypatch.delenv("GATEPOST_CONFIG")
    assert run("show")[1] == "config /etc/gatepost/gatepost.toml\n"


def test_what_follows_two_dashes_is_left_alone() -> None:
    """A word after `--` is never taken for a global option."""
    assert main.hoist(["show", "--", "--json"]) == ["show", "--", "--json"]


def test_version() -> None:
    """--version prints name and version."""
    assert CliRunner().invoke(main.app, ["--version"]).output == f"gatepost {__version__}\n"


def test_root_is_warned_once(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root gets one warning; a process started from here stays silent."""
    monkeypatch.delenv("GATEPOST_ROOT_WARNED", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    first, second = (CliRunner().invoke(app, ["show"]) for _ in range(2))
    assert "running as root" in first.stderr
    assert second.stderr == ""


def test_terminal_escapes_are_shown_not_obeyed() -> None:
    """A subject with terminal escapes or direction overrides cannot rewrite the admin's screen."""
    assert printable("a\x1b[2Jb\u202ec") == "a\\x1b[2Jb\\u202ec"


def test_columns_are_aligned() -> None:
    """A table's columns are as wide as their widest cell."""
    assert columns(("id", "name"), [("1", "long\nname"), ("22", "x")]) == "id  name\n1   long\\nname\n22  x"


def test_settings_are_read_when_first_needed() -> None:
    """A command that needs no settings runs without a settings file."""
    assert Invocation(config=Path("/does/not/exist")).json is False
