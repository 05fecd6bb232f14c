"""
Patterns that admins write: regular expressions, and globs on addresses.

Whoever writes a subject or a header must not be able to hang the daemon by it, so regular expressions run on
RE2: time linear in the text, whatever the expression. In exchange RE2 has no look-around and no back-references.
Case never matters. Both raise ValueError with what is wrong.
"""

import fnmatch
import re
from dataclasses import dataclass, field
from typing import Any

import re2


@dataclass(frozen=True, slots=True)
class Expression:
    """A regular expression that matches anywhere in a text."""

    source: str
    _compiled: Any = field(compare=False, repr=False)

    @classmethod
    def of(cls, source: str) -> "Expression":
        """Compile; raises ValueError where RE2 does not take it."""
        if not source:
            raise ValueError("an empty regular expression matches everything")
        options = re2.Options()
        options.case_sensitive = False
        options.log_errors = False
        try:
            return cls(source, re2.compile(source, options))
        except re2.error as error:
            reason = error.args[0] if error.args else "not understood"
            text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
            raise ValueError(f"{source!r} is no regular expression that RE2 takes: {text}") from error

    def found_in(self, text: str) -> bool:
        """Tell whether the text holds a match."""
        return self._compiled.search(text) is not None


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern for a whole address: `*` any text, `?` one character, `[ab]` one of these."""

    source: str
    _compiled: re.Pattern[str] = field(compare=False, repr=False)

    @classmethod
    def of(cls, source: str) -> "Glob":
        """Compile; raises ValueError for a pattern that can match no address."""
        if source == "<>":
            return cls(source, re.compile(r"<>\Z"))
        if not source.isprintable() or any(char.isspace() for char in source):
            raise ValueError(f"{source!r} holds blanks or control characters")
        if "@" not in source and not source.startswith("*"):
            raise ValueError(f"{source!r} matches no address: write '*@{source}' for a domain")
        if not source.rpartition("@")[2].isascii():
            raise ValueError(f"{source!r}: write the domain in its ASCII form (xn--...)")
        # fnmatch.translate gives expressions that do not backtrack into a star once it is matched
        return cls(source, re.compile(fnmatch.translate(source.lower())))

    def matches(self, address: str) -> bool:
        """Tell whether the address, in lower case, is matched whole."""
        return self._compiled.match(address) is not None
