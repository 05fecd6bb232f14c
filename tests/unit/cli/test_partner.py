"""The commands `gatepost partner` and `gatepost db`, and the examples of docs/partners.md."""

import json
import re
import shlex
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gatepost import __main__
from gatepost.app.store import upgrade_database
from gatepost.db.engine import Database

Run = Callable[..., tuple[int, str, list[str]]]
DOCS = Path(__file__).parents[3] / "docs" / "partners.md"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Make a site without a schema."""
    file = tmp_path / "gatepost.db"
    (tmp_path / "gatepost.toml").write_text(
        f'[gateway]\ninternal_domains = ["in.test"]\n[database]\nurl = "sqlite:///{file}"\n'
    )
    return file


@pytest.fixture
def run(file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command as the shell does; gives exit status, stdout and the lines of stderr."""
    monkeypatch.setenv("GATEPOST_ROOT_WARNED", "1")
    monkeypatch.setenv("GATEPOST_CONFIG", str(file.parent / "gatepost.toml"))
    monkeypatch.chdir(file.parent)

    def run(*words: str) -> tuple[int, str, list[str]]:
        monkeypatch.setattr("sys.argv", ["gatepost", *words])
        with pytest.raises(SystemExit) as ended:
            __main__.main()
        out, err = capfd.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), out, err.splitlines()

    return run


@pytest.fixture
def table(file: Path, run: Run) -> Run:
    """Give the site its schema."""
    upgrade_database(Database(f"sqlite:///{file}"))
    return run


def test_schema_by_command_line(run: Run) -> None:
    """A site without its schema says what to run, and that makes it."""
    told = ["gatepost db upgrade"]
    code, _, err = run("partner", "list")
    assert code == 1
    assert all(word in err[0] for word in told)
    assert run("db", "current", "--json")[1].replace(" ", "").splitlines()[1] == '"version":"",'
    assert run("db", "upgrade")[0] == 0
    versions = json.loads(run("db", "current", "--json")[1])
    assert versions["version"] == versions["needed"]


def test_rows_by_command_line(table: Run) -> None:
    """A row is added, changed, shown, listed and removed; --json has the table's columns."""
    expected = {
        "pattern": "xn--bcher-kva.example",
        "demand": "encrypt",
        "ladder": ["openpgp", "tls"],
        "tls": "verify",
        "tls_name": "",
        "tls_ca": "",
        "nexthop": "",
        "inbound": "none",
        "inbound_action": "flag",
        "note": "",
        "sign": "",
        "cipher_floor": "",
    }
    words = ("partner", "add", "Bücher.example", "--demand", "encrypt", "--ladder", "openpgp, tls", "--note", "x")
    assert table(*words)[0] == 0
    code, out, _ = table("partner", "set", "bücher.example", "--tls", "verify", "--note", "", "--json")
    assert (code, json.loads(out)) == (0, expected)
    assert json.loads(table("partner", "show", "bücher.example", "--json")[1]) == expected
    assert json.loads(table("partner", "list", "--json")[1]) == {"partners": [expected]}
    assert json.loads(table("partner", "export", "--json")[1]) == {"partners": [expected]}
    assert json.loads(table("partner", "remove", "bücher.example", "--json")[1]) == {
        "removed": expected["pattern"]
    }
    assert json.loads(table("partner", "list", "--json")[1]) == {"partners": []}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["add", "a b", "--demand", "x"], ["pattern: 'a b'", "demand: 'x'"]),
        (["add", "b.test", "--ladder", "pass"], ["ladder: 'pass' is not allowed"]),
        (["add", "b.test", "--tls-name", "mx.test"], ["tls_name: needs tls verify"]),
        (["add", "b.test", "--tls", "verify", "--tls-ca", "none.pem"], ["tls_ca: /"]),
        (["add", "a.test"], ["a.test is there already"]),
        (["set", "b.test", "--demand", "tls"], ["b.test is not in the partner table"]),
        (["show", "b.test"], ["b.test is not in the partner table"]),
        (["remove", "b.test"], ["b.test is not in the partner table"]),
        (["import", "none.csv"], ["none.csv: No such file or directory"]),
    ],
)
def test_refusal_is_told_in_clear_lines(table: Run, words: list[str], told: list[str]) -> None:
    """What is refused ends with status 1 and a line per fault; nothing changes."""
    table("partner", "add", "a.test")
    code, out, err = table("partner", *words)

    assert (code, out) == (1, "")
    assert len(err) == len(told)
    assert all(line.startswith(f"gatepost: {start}") for line, start in zip(err, told, strict=True))
    assert [row["pattern"] for row in json.loads(table("partner", "list", "--json")[1])["partners"]] == ["a.test"]


def test_import_is_all_or_nothing(table: Run) -> None:
    """One wrong row, and none is imported."""
    Path("bad.csv").write_text("pattern,demand\na.test,tls\nb.test,maybe\n")
    code, _, err = table("partner", "import", "bad.csv")

    assert (code, err) == (1, ["gatepost: line 3: demand: 'maybe' is not allowed; use none, tls, encrypt"])
    assert json.loads(table("partner", "list", "--json")[1]) == {"partners": []}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"pattern,note\na.test,x\nb.test,caf\xe9\n", "line 3: not UTF-8; save the file as UTF-8"),
        (b"demand;note\ntls;x\n", "line 1: the first row must name the columns, `pattern` among them"),
        (b"pattern;demand\na.test;tls\nb.test,tls\n", "line 3: 1 cells where the header has 2"),
    ],
)
def test_a_file_that_is_no_table_is_told_by_line(table: Run, data: bytes, told: str) -> None:
    """The line that is wrong is the one that is named."""
    Path("bad.csv").write_bytes(data)
    code, _, err = table("partner", "import", "bad.csv")

    assert code == 1
    assert [line.removeprefix("gatepost: ")[: len(told)] for line in err] == [told]


def test_semicolons_separate_as_well(table: Run) -> None:
    """What a spreadsheet wrote with semicolons, a byte order mark and CRLF is read; a ladder keeps its commas."""
    Path("in.csv").write_bytes(b"\xef\xbb\xbfpattern;ladder\r\na.test;openpgp,smime\r\n")
    assert table("partner", "import", "in.csv")[0] == 0

    (row,) = json.loads(table("partner", "list", "--json")[1])["partners"]
    assert (row["pattern"], row["ladder"]) == ("a.test", ["openpgp", "smime"])


def test_export_round_trip(table: Run) -> None:
    """What was exported is imported to the same table, spreadsheet's byte order mark or not."""
    table("partner", "add", "a.test", "--note", 'x, "y"\r\nz')
    table("partner", "add", ".b.test", "--demand", "tls", "--ladder", "tls,smime")
    table("partner", "export", "out.csv")
    before = table("partner", "list", "--json")[1]
    table("partner", "remove", "a.test")
    Path("out.csv").write_bytes(b"\xef\xbb\xbf" + Path("out.csv").read_bytes())

    assert json.loads(table("partner", "import", "out.csv", "--json")[1]) == {"imported": 2}
    assert table("partner", "list", "--json")[1] == before


def test_examples_of_the_documentation_run(table: Run, file: Path) -> None:
    """Every command, file and statement that docs/partners.md shows is accepted."""
    blocks = re.findall(r"```(sh|csv|sql)\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert [kind for kind, _ in blocks] == ["sh", "sh", "csv", "sql"]
    for kind, text in blocks:
        if kind == "sh":
            for line in text.splitlines():
                assert table(*shlex.split(line)[1:])[0] == 0, line
        elif kind == "csv":
            Path("example.csv").write_text(text)
            assert table("partner", "import", "example.csv")[0] == 0
        else:
            connection = sqlite3.connect(file)
            connection.executescript(text)
            connection.close()
    patterns = [row["pattern"] for row in json.loads(table("partner", "list", "--json")[1])["partners"]]

    assert patterns == [".clinic.example", ".insurer.example", "bank.example", "partner.example"]
