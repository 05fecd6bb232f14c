"""Reading rules: everything the language has, and every fault named with file and rule."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.reader import ladder_faults, read_rules
from gatepost.decision.rules import RuleSet
from gatepost.errors import ConfigError

Read = Callable[[str], RuleSet]
RULE = '[[rule]]\nname = "r"\nwhen = {{ {when} }}\ndemand = "encrypt"\n{more}\n'


def rule(when: str = "everything = true", more: str = "") -> str:
    return RULE.format(when=when, more=more)


def faults(read: Read, text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value.faults


def test_a_rule_with_every_key_is_read(rules_of: Read) -> None:
    """Every key of the rule language is taken and kept."""
    rules = rules_of(
        """
[[rule]]
name = "all of it"
when = { direction = ["out"], sender = "*@a.test", recipient = ["*@b.test"], subject_tag = ["[x]"], subject = "s",
         header.X-Y = "v", size_over = 10, authenticated = true, detect = ["us-ssn"], at_least = 2,
         recipients_over = 3, all = [{ sender = "*" }], any = [{ size_over = 1 }], not = { subject = "n" } }
demand = "quarantine"
ladder = ["openpgp"]
mark = false
notify = true
pilot = true
tls_protects = false
always = true
""".replace("\n         ", " ")
    )

    found = rules.rules[0]
    assert (found.name, found.demand, found.ladder) == ("all of it", Demand.QUARANTINE, (Treatment.OPENPGP,))
    assert (found.mark, found.notify, found.pilot, found.tls_protects) == (False, True, True, False)
    assert (found.always, found.detects, found.comes_second) == (True, True, False)
    assert (rules.tags.words, rules.needs_body) == (("[x]",), True)


def test_defaults(rules_of: Read) -> None:
    """A rule without flags marks, tells nobody, has effect, and needs no body."""
    rules = rules_of(rule())

    found = rules.rules[0]
    assert (found.mark, found.notify, found.pilot, found.always, found.tls_protects) == (
        True,
        False,
        False,
        False,
        True,
    )
    assert not rules.needs_body


def test_files_by_name_rules_by_position(tmp_path: Path) -> None:
    """The reading order is that of the files' names, then of the rules in a file; other files are left alone."""
    for name, rules in (("20-b.toml", "cd"), ("10-a.toml", "ba"), ("notes.txt", "x"), (".#10-a.toml", "y")):
        (tmp_path / name).write_text("".join(rule().replace('"r"', f'"{letter}"') for letter in rules))

    assert [found.name for found in read_rules(tmp_path, frozenset()).rules] == ["b", "a", "c", "d"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (rule(more="prority = 1"), "rule 'r': unknown key 'prority'"),
        (rule(when=""), "rule 'r': when is empty; for a rule that matches everything"),
        ('[[rule]]\nname = "r"\ndemand = "tls"', "rule 'r': when is empty"),
        (rule(when="everything = false"), "rule 'r': everything = true stands alone in when"),
        (rule(when='everything = true, sender = "*"'), "rule 'r': everything = true stands alone in when"),
        (rule(when='colour = "red"'), "rule 'r': unknown condition when.colour"),
        (rule(when='not = { colour = "red" }'), "rule 'r': unknown condition when.not.colour"),
        (rule(when="not = {}"), "rule 'r': when.not needs at least one condition"),
        (rule(when="all = []"), "rule 'r': when.all: is a list of tables"),
        (rule(when="any = [{}]"), "rule 'r': when.any[1] needs at least one condition"),
        (rule(when='direction = "outwards"'), "rule 'r': when.direction: no direction 'outwards'"),
        (rule(when='recipient = "partner.test"'), "write '*@partner.test' for a domain"),
        (rule(when='sender = "a b@c.test"'), "holds blanks"),
        (rule(when='sender = ""'), "none of them empty"),
        (rule(when='sender = "*@bücher.test"'), "ASCII form"),
        (rule(when='subject = "(a"'), "rule 'r': when.subject: '(a' is no regular expression that RE2 takes"),
        (rule(when='subject = "a(?=b)"'), "is no regular expression that RE2 takes"),
        (rule(when='header.X-Y = "[z"'), "rule 'r': when.header.X-Y: '[z' is no regular expression"),
        (rule(when='header."a b" = "z"'), "'a b' is no field name"),
        (rule(when='header = "z"'), "when.header needs a field's name"),
        (rule(when='subject_tag = ["**"]'), "rule 'r': when.subject_tag: the tag '**' holds nothing"),
        (rule(when='size_over = "1 MB"'), "rule 'r': when.size_over: is a whole number"),
        (rule(when="recipients_over = -1"), "when.recipients_over: is a whole number"),
        (rule(when='authenticated = "yes"'), "when.authenticated: is true or false"),
        (rule(when='detect = ["uk-nhs"]'), "no detector 'uk-nhs' is installed"),
        (rule(when='detect = ["us-ssn"], at_least = 0'), "when.detect: is a whole number, 1 or more"),
        (rule(when='sender = "*", at_least = 2'), "when.at_least needs detect beside it"),
        (rule(more='ladder = ["tls"]'), "'tls' cannot stand in a ladder for encrypt"),
        (rule(more='ladder = ["pass"]'), "'pass' cannot stand in a ladder for encrypt"),
        (rule(more='ladder = ["quarantine"]'), "'quarantine' cannot stand in a ladder"),
        (rule(more='ladder = ["pdf", "pdf"]'), "'pdf' stands twice"),
        (rule(more='ladder = "pdf"'), "ladder is a list of treatments"),
        (rule(more='mark = "no"'), "mark is true or false"),
        (rule(more="always = true"), "always has a meaning only with detect in when"),
        (rule().replace('"encrypt"', '"maybe"'), "demand is one of none, tls, encrypt, quarantine, reject"),
        (rule().replace('demand = "encrypt"', ""), "demand is one of"),
        (rule().replace('name = "r"', ""), "rule 1: needs a name"),
        (rule() + rule(), "rule 'r': the name is taken by a rule in"),
        ('[rule]\nname = "r"', "write [[rule]], with two brackets"),
        ("[[rules]]", "unknown key 'rules'"),
        ("[[rule]", "cannot be read"),
    ],
)
def test_a_fault_names_file_and_rule(rules_of: Read, text: str, fault: str) -> None:
    """Whatever is wrong is refused, and the admin is told where and what."""
    found = faults(rules_of, text)

    assert any(fault in line for line in found), found
    assert all("10-test.toml: " in line for line in found)


def test_all_faults_are_told_at_once(rules_of: Read) -> None:
    """An admin need not run the check once per fault."""
    text = rule(when="colour = 1") + rule(when="size_over = -1").replace('"r"', '"s"')

    assert len(faults(rules_of, text)) == 2


def test_no_detector_is_known_where_none_is_installed(tmp_path: Path) -> None:
    """A rule that could never be judged is refused, not silently skipped."""
    (tmp_path / "a.toml").write_text(rule(when='detect = ["unreadable"]'))

    with pytest.raises(ConfigError, match="no detector 'unreadable' is installed"):
        read_rules(tmp_path, frozenset())


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    """Rules that are not there must not look like no rules."""
    with pytest.raises(ConfigError, match="is no directory"):
        read_rules(tmp_path / "nowhere", frozenset())


def test_tls_may_stand_in_a_ladder_for_tls() -> None:
    """TLS meets the demand tls, not encrypt; pass meets nothing."""
    assert ladder_faults(["tls", "openpgp"], Demand.TLS) == ()
    assert ladder_faults(["tls"], Demand.ENCRYPT)
    assert ladder_faults(["pass"], Demand.TLS)
