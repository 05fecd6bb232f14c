"""Mutants: small changes to a source, each in its place."""

import pytest
from lab.mutants import mutants_of


def _words(source: str) -> list[str]:
    return [mutant.words for mutant in mutants_of(source)]


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("return a < 1", {"return None", "a <= 1", "2"}),
        ("return a and not b", {"return None", "a or not b", "b"}),
        ("return max(a, b)", {"return None", "min"}),
        ("a.b = c", {"(left out)"}),
        ("if a: raise ValueError('no')", {"not a", "(left out)"}),
        ("c = [x for x in a if x]", {"not x"}),
        ("c = a + b", {"a - b"}),
        ("c = True", {"False"}),
        ("c = a == b'x'", {"a != b'x'", "b'x?'"}),
        ("c: int | None = b", set()),
        ('"""What it does."""', set()),
        ("raise ValueError(f'{a + 1}')", {"(left out)"}),
    ],
)
def test_changes(line: str, changed: set[str]) -> None:
    """A guard's comparisons, conditions, values and statements are changed; texts and annotations are not."""
    found = _words(f"def f(a, b):\n    {line}\n")

    assert changed == {words.rpartition(" -> ")[2] for words in found}
    assert all(words.startswith("f: ") for words in found)


def test_code_is_changed() -> None:
    """The code of a mutant does what the mutant says, and leaves the rest alone."""
    mutants = list(mutants_of("LIMIT = 5\ndef f(a):\n    return a < LIMIT\n"))
    results = []
    for mutant in mutants:
        names: dict[str, int] = {}
        exec(mutant.code("source.py"), names)  # noqa: S102 - the mutants of the two lines above
        results.append((mutant.function, names["LIMIT"], names["f"](5)))  # type: ignore[operator]

    assert [(None, 6, True), ((2, "f"), 5, None), ((2, "f"), 5, True)] == results
