"""What a partner row may say, and how what an admin writes is read."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.directory.partner import Partner
from gatepost.directory.partner_csv import MOST_FAULTS, read_csv, write_csv
from gatepost.directory.partner_rules import check_partner, columns_of, normal_pattern, read_partner
from gatepost.errors import DirectoryError

HEX = "0a" * 32


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("Partner.Test", "partner.test"),
        (" partner.test. ", "partner.test"),
        (".Partner.Test", ".partner.test"),
        ("Bob+Tag@Partner.Test", "bob+tag@partner.test"),
        ("bücher.example", "xn--bcher-kva.example"),
        (".bücher.example", ".xn--bcher-kva.example"),
        ("Jürgen@bücher.example", "jürgen@xn--bcher-kva.example"),
        ("_x.test", "_x.test"),
    ],
)
def test_pattern_is_brought_into_the_tables_form(written: str, stored: str) -> None:
    """Case, a final dot and international domains do not matter when a pattern is written."""
    assert normal_pattern(written) == stored
    assert normal_pattern(stored) == stored


@pytest.mark.parametrize(
    "written",
    [
        "",
        ".",
        "@",
        "a@",
        "@b.test",
        "*.a.test",
        "a b@c.test",
        "a..b",
        "..a",
        "a@.b.test",
        "a@b@c.test",
        "a/b",
        "-a.test",
        "x" * 64 + ".test",
        ".".join(["a" * 60] * 5),
        "[192.0.2.1]",
        "a\x00@b.test",
    ],
)
def test_what_is_no_pattern(written: str) -> None:
    """What could never match is refused when it is written."""
    with pytest.raises(DirectoryError, match="pattern: "):
        normal_pattern(written)


def test_row_is_read_as_people_write_it() -> None:
    """Case, blanks and a fingerprint's colons do not matter."""
    row = read_partner(
        {
            "pattern": "A.test",
            "demand": " Encrypt",
            "ladder": "OpenPGP, tls,",
            "tls": "Fingerprint:" + ":".join(["0A"] * 32),
            "nexthop": "[MX.a.test]:25",
            "note": " kept as it is ",
        }
    )

    assert row == Partner(
        pattern="a.test",
        demand="encrypt",
        ladder=("openpgp", "tls"),
        tls=f"fingerprint:{HEX}",
        nexthop="[mx.a.test]:25",
        note=" kept as it is ",
    )


@pytest.mark.parametrize("word", ["pass", "quarantine", "reject", "gpg"])
def test_ladder_names_only_what_protects(word: str) -> None:
    """A partner's ladder cannot let mail pass in clear, nor hold or refuse it."""
    with pytest.raises(DirectoryError, match=f"ladder: '{word}' is not allowed; use tls, openpgp"):
        read_partner({"pattern": "a.test", "ladder": f"openpgp,{word}"})


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"demand": "quarantine"}, "demand: 'quarantine' is not allowed; use none, tls, encrypt"),
        ({"tls": "may"}, "tls: 'may' is not allowed; use verify, dane, mta-sts or fingerprint:SHA256"),
        ({"tls": "fingerprint:12"}, "tls: 'fingerprint:12' is not allowed"),
        ({"tls_name": "mx.test"}, "tls_name: needs tls verify"),
        ({"tls": "dane", "tls_ca": "/ca.pem"}, "tls_ca: needs tls verify"),
        ({"tls": "verify", "tls_ca": "ca.pem"}, "tls_ca: 'ca.pem' is not an absolute path"),
        ({"tls": "verify", "tls_name": "a b"}, "tls_name: 'a b' is not a host name"),
        ({"tls": "verify", "tls_name": "Hostname"}, "tls_name: 'hostname' is not a host name"),
        ({"tls": "verify", "tls_name": "dot-nexthop"}, "tls_name: 'dot-nexthop' is not a host name"),
        ({"nexthop": "[mx"}, r"nexthop: '\[mx' is not a host"),
        ({"nexthop": "mx:smtp"}, "nexthop: 'mx:smtp' is not a host"),
        ({"inbound": "yes"}, "inbound: 'yes' is not allowed"),
        ({"inbound_action": "drop"}, "inbound_action: 'drop' is not allowed; use flag, quarantine, tempfail"),
        ({"colour": "red"}, "colour: no such column"),
    ],
)
def test_fault_says_what_is_allowed(columns: dict[str, str], fault: str) -> None:
    """Each fault names the column, the value and what is allowed instead."""
    with pytest.raises(DirectoryError, match=fault):
        read_partner({"pattern": "a.test"} | columns)


def test_all_faults_are_told() -> None:
    """An admin sees every fault of a row at once."""
    with pytest.raises(DirectoryError) as caught:
        read_partner({"pattern": "a b", "demand": "x", "inbound": "y"})

    assert [fault.partition(":")[0] for fault in caught.value.diagnostics()] == ["pattern", "demand", "inbound"]


def test_pattern_that_could_not_match_is_refused() -> None:
    """A stored pattern in another form than look-ups use would be no protection at all."""
    with pytest.raises(DirectoryError, match="would never match"):
        check_partner(Partner("A.test"))


rows = st.builds(
    Partner,
    pattern=st.sampled_from(["a.test", ".a.test", "bob@a.test"]),
    demand=st.sampled_from(["none", "tls", "encrypt"]),
    ladder=st.lists(st.sampled_from(["tls", "openpgp", "pickup"]), unique=True).map(tuple),
    tls=st.sampled_from(["", "verify", f"fingerprint:{HEX}"]),
    nexthop=st.sampled_from(["", "[mx.a.test]:25", "[2001:db8::1]"]),
    note=st.text(st.characters(exclude_categories=["Cs"])),
)


class TestCsv:
    @given(st.lists(rows, unique_by=lambda row: row.pattern))
    def test_round_trip(self, written: list[Partner]) -> None:
        """What is exported is imported unchanged, whatever the note holds."""
        file = io.StringIO(newline="")
        write_csv(written, file)

        assert read_csv(file.getvalue().encode()) == tuple(written)

    @given(rows)
    def test_columns_round_trip(self, row: Partner) -> None:
        """A row's columns are read back unchanged."""
        assert read_partner(columns_of(row)) == row

    @pytest.mark.parametrize(
        ("text", "faults"),
        [
            ("", ["line 1: the first row must name the columns"]),
            ("a.test,tls\n", ["line 1: the first row must name the columns"]),
            ("pattern,colour\n", ["line 1: no such column: colour"]),
            ("pattern,note,note\n", ["line 1: a column is named twice"]),
            ("pattern\na.test,tls\n", ["line 2: 2 cells where the header has 1"]),
            ("pattern\n\na b\n\n", ["line 3: pattern: 'a b'"]),
            ("pattern\na.test\nA.TEST\n", ["line 3: a.test stands in the file twice"]),
            (
                'pattern,demand,note\na.test,x,\nb.test,tls,"two\nlines"\nc d,y,\n',
                ["line 2: demand: 'x'", "line 5: pattern: 'c d'", "line 5: demand: 'y'"],
            ),
            ('pattern\n"a.test\n', ["line 2: not CSV: unexpected end of data"]),
        ],
    )
    def test_faults_are_told_with_their_lines(self, text: str, faults: list[str]) -> None:
        """Every fault is told at once, with the line where it stands."""
        with pytest.raises(DirectoryError) as caught:
            read_csv(text.encode())
        told = caught.value.diagnostics()

        assert len(told) == len(faults)
        assert all(line.startswith(fault) for line, fault in zip(told, faults, strict=True))

    def test_many_faults_are_counted(self) -> None:
        """A file that is wrong throughout does not flood the terminal."""
        text = "pattern\n" + "a b\n" * (MOST_FAULTS + 50)
        with pytest.raises(DirectoryError) as caught:
            read_csv(text.encode())

        assert caught.value.diagnostics()[-1] == "and 50 more"

    def test_file_that_is_not_utf8(self) -> None:
        """A file in another character set is told, not guessed at."""
        with pytest.raises(DirectoryError, match="line 2: not UTF-8; save the file as UTF-8"):
            read_csv(b"pattern,note\na.test,\xfc\n")
