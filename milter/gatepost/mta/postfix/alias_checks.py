"""
The doctor's checks of aliases: can the tables that Gatepost follows be asked, and are there any that it does not?
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from gatepost.errors import GatepostError
from gatepost.message.direction import Site
from gatepost.mta.finding import Finding, fail, ok, trial, warn
from gatepost.mta.postfix.aliases import PostfixAliases


def alias_checks(directory: Path, setting: str, internal_domains: Sequence[str]) -> Iterator[Finding]:
    """Check the tables that are asked for the Postfix in `directory`; `setting` is `[gateway] aliases`."""
    aliases = PostfixAliases(directory, expanded=setting == "expanded")
    try:
        tables = aliases.tables([domain.removeprefix(".") for domain in internal_domains])
    except GatepostError as error:
        yield from (fail("aliases", fault) for fault in error.diagnostics())
        return
    if not tables:
        yield ok("no table of aliases is in force for the internal domains")
    elif setting in {"resolve", "expanded"}:
        for name in tables:
            yield from trial(f"aliases in {name}", partial(aliases.try_table, name))
        yield from _foreign_checks(aliases, internal_domains)
    elif setting == "none":
        yield fail(
            f'[gateway] aliases = "none", and Postfix follows {", ".join(tables)}: mail may leave in clear',
            'set it to "resolve", or take the tables out of main.cf',
        )
    else:
        yield warn(
            f'[gateway] aliases = "{setting}", and Postfix follows {", ".join(tables)}: mail may leave in clear',
            'set it to "resolve"',
        )


def _foreign_checks(aliases: PostfixAliases, internal_domains: Sequence[str]) -> Iterator[Finding]:
    """Name the domains delivered here that count as outside: an alias may lead to a mailbox there."""
    site = Site(frozenset(internal_domains))
    foreign = [domain for domain in aliases.local_domains() if not site.is_internal_domain(domain)]
    if foreign:
        yield warn(
            f"mydestination names {', '.join(foreign)}, and internal_domains does not: whoever an alias leads to "
            "there counts as outside",
            "name in internal_domains what is yours",
        )
