"""
Texts of main.cf, master.cf and gatepost.toml: changed in place, given back byte for byte.
"""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import ConfigError
from gatepost.mta.postfix.maincf import with_settings
from gatepost.mta.postfix.marks import ASIDE, lines_of, with_marks, without_marks
from gatepost.mta.postfix.mastercf import ServiceEdit, services_of, with_edits
from gatepost.mta.postfix.toml_keys import with_key

# Lines as an admin might write them, any control and non-ASCII character included.
_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=200).filter(
    lambda text: "gatepost" not in text
)


class TestMarks:
    @given(_TEXT, st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20), max_size=3))
    def test_text_comes_back(self, text: str, aside: set[int], places: set[int]) -> None:
        """
        Whatever was put aside or in, the admin's text comes back byte for byte.
        """
        count = len(lines_of(text))
        marked = with_marks(
            text, aside={n for n in aside if n < count}, blocks={n: ["ours = 1"] for n in places if n <= count}
        )

        assert without_marks(marked, "main.cf") == text

    def test_edits_in_between_are_kept(self) -> None:
        """
        What the admin adds after our block, or changes on a line put aside, is there after taking back.
        """
        marked = with_marks("a = 1\nb = 2\n", aside={0}, blocks={2: ["a = 3"]})
        edited = marked.replace(f"{ASIDE}a = 1", f"{ASIDE}a = 9") + "c = 4\n"

        assert without_marks(edited, "main.cf") == "a = 9\nb = 2\nc = 4\n"

    @pytest.mark.parametrize("text", ["# BEGIN gatepost\na = 1\n", "# END gatepost\n"])
    def test_half_a_block_is_told(self, text: str) -> None:
        """
        A block whose begin or end is gone is refused with the file's name, not guessed at.
        """
        with pytest.raises(ConfigError, match=r"main\.cf: a line"):
            without_marks(text, "main.cf")


class TestMainCf:
    def test_setting_is_put_aside_with_its_continuation(self) -> None:
        """
        A setting over several lines is put aside whole; the comments between stay as they are.
        """
        text = "a = 1,\n# why\n  2\nab = 3\n"

        assert with_settings(text, {"a": "new"}).startswith(f"{ASIDE}a = 1,\n# why\n{ASIDE}  2\nab = 3\n# BEGIN")

    def test_new_settings_stand_last(self) -> None:
        """
        Postfix takes the last of two settings: ours stand at the end.
        """
        assert with_settings("b = 1\n", {"a": "x y"}).endswith("a = x y\n# END gatepost\n")


_MASTER = """\
# comment
smtp inet n - y - - smtpd -o a=1
  -o { b = 2 3 }
# between
  -o c=4
pickup unix n - y 60 1 pickup
"""


class TestMasterCf:
    def test_options_are_read(self) -> None:
        """
        Options are read from the first line and from continuations, with braces or without.
        """
        smtp, pickup = services_of(_MASTER)

        assert smtp.options == {"a": "1", "b": "2 3", "c": "4"}
        assert (smtp.first, smtp.last, pickup.first, pickup.chroot) == (1, 4, 5, "y")

    def test_our_options_come_after_the_admins(self) -> None:
        """
        The later of two options wins, so ours follow all of the service's own.
        """
        smtp, _ = services_of(_MASTER)
        changed = with_edits(_MASTER, [ServiceEdit(smtp, {"a": "9"})], [])

        assert services_of(changed)[0].options["a"] == "9"
        assert without_marks(changed, "master.cf") == _MASTER

    def test_chroot_is_left(self) -> None:
        """
        A service that leaves its chroot keeps its options, and gets its line back.
        """
        smtp, _ = services_of(_MASTER)
        changed = with_edits(
            _MASTER, [ServiceEdit(smtp, {"z": "1"}, leave_chroot=True)], ["x unix - - n - - smtp"]
        )

        first = services_of(changed)[0]
        assert (first.chroot, first.options) == ("n", {"a": "1", "b": "2 3", "c": "4", "z": "1"})
        assert without_marks(changed, "master.cf") == _MASTER

    def test_short_line_is_told(self) -> None:
        """
        A line with fewer than eight columns is named.
        """
        with pytest.raises(ConfigError, match="line 1: expected eight columns, found 3"):
            services_of("smtp inet n\n")


class TestTomlKeys:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[gateway]\nreinject = 'old' # why\nb = 2\n",
            "[gateway]\nb = 2\n[other]\nreinject = 'stays'\n",
            "[gateway]",
            "# only a comment\n[gateway] # here\n\n[gateway.sub]\nx = 1\n",
        ],
    )
    def test_key_is_set_and_the_rest_stays(self, text: str) -> None:
        """
        The key is set once, in its table; comments and other keys stay.
        """
        edited = with_key(text, "gateway", "reinject", "127.0.0.1:1")

        assert tomllib.loads(edited)["gateway"]["reinject"] == "127.0.0.1:1"
        assert edited.count("#") == text.count("#")
        assert tomllib.loads(edited).get("other") == tomllib.loads(text).get("other")
        assert with_key(edited, "gateway", "reinject", "127.0.0.1:1") == edited

    def test_what_cannot_be_set_is_told(self) -> None:
        """
        A key in a form that is not understood is left to the admin, with the line to write.
        """
        with pytest.raises(ConfigError, match=r'write `reinject = "x"` there yourself'):
            with_key('gateway = { reinject = "y" }\n', "gateway", "reinject", "x")
