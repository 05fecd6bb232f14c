"""
Mutation testing: whether the tests notice small changes to what guards a message.

Prints the mutants that survived the tests and are not explained in docs/hacking.md, and a table. Exit status 1 if
one is not explained, or 15 % or more survived in any room. Arguments: modules such as `crypto/guard.py`; default:
all that are named here.
"""

import importlib.machinery
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import CodeType

import pytest
from hypothesis import Phase, settings

from lab.child import ended_well, in_child
from lab.mutant_session import OPTIONS, MutantSession
from lab.mutants import Mutant, mutants_of

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "milter" / "gatepost"
GUARDS = {
    "decision": ("engine", "condition", "copies", "inbound", "ladder", "demand", "release"),
    "gateway": (
        "despatch",
        "entry",
        "exchanges",
        "gateway",
        "identity",
        "journal",
        "opening",
        "protection",
        "resume",
        "signatures",
        "stored_plan",
        "survey",
    ),
    "crypto": (
        "guard",
        "seal",
        "packets",
        "cms",
        "pgpmime",
        "signed_data",
        "signed_mail",
    ),
    "message": ("direction", "received", "senders"),
    "transport": (
        "assurance",
        "dane",
        "discovery",
        "dns",
        "hop",
        "kept_discoveries",
        "mta_sts",
        "mx",
        "policy_line",
        "sts_fetch",
        "sts_policy",
        "target",
    ),
}
TESTS = {  # by room
    "decision": ("tests/unit/decision", "tests/unit/gateway/test_gateway.py"),
    "gateway": ("tests/unit/gateway", "tests/contract/test_journal.py"),
    "crypto": (
        "tests/unit/crypto",
        "tests/unit/gateway/test_gateway.py",
        "tests/unit/gateway/test_signed_arrival.py",
    ),
    "message": ("tests/unit/message", "tests/unit/gateway/test_gateway.py"),
    "transport": ("tests/unit/transport",),
}
MOST = 0.15  # of a room's mutants may survive
_CPU = 60  # seconds for the tests of a mutant outside of functions


def main(names: Sequence[str]) -> int:
    """Make and run the mutants of these modules."""
    guards = [PACKAGE / room / f"{name}.py" for room, there in GUARDS.items() for name in there]
    modules = [PACKAGE / name for name in names] or guards
    mutants = {module: list(mutants_of(module.read_text(encoding="utf-8"))) for module in modules}
    settings.register_profile(
        "mutants",
        max_examples=30,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
    )
    survivors: dict[str, list[str]] = {}
    for room, tests in TESTS.items():
        there = {module: those for module, those in mutants.items() if module.parent.name == room}
        if there:
            survivors |= _survivors(there, tests)
    return _report(mutants, survivors)


def _survivors(mutants: Mapping[Path, Sequence[Mutant]], tests: Sequence[str]) -> dict[str, list[str]]:
    """Give the words of each module's mutants that survive these tests."""
    outcome = in_child(partial(MutantSession(mutants).run, tests))
    survivors = outcome["survivors"]
    for module, those in mutants.items():
        files = outcome["files"][str(module)]
        for one in those:
            if one.function is None and ended_well(partial(_passes_anew, module, one, files), _CPU):
                survivors[str(module)].append(one.words)
    return survivors


def _passes_anew(module: Path, mutant: Mutant, tests: Iterable[str]) -> bool:
    """Load the product, of which nothing is loaded yet, with one module changed, and run tests."""
    original = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: importlib.machinery.SourceFileLoader, fullname: str) -> CodeType | None:
        return mutant.code(self.path) if self.path == str(module) else original(self, fullname)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]
    return pytest.main([*OPTIONS, "-x", *tests]) == pytest.ExitCode.OK


def _report(mutants: Mapping[Path, Sequence[Mutant]], survivors: Mapping[str, Sequence[str]]) -> int:
    explained = (ROOT / "docs" / "hacking.md").read_text(encoding="utf-8")
    made: Counter[str] = Counter()
    left: Counter[str] = Counter()
    unexplained = 0
    for module, those in mutants.items():
        name = str(module.relative_to(PACKAGE))
        for words in survivors[str(module)]:
            if f"| `{name}` | `{words}` |" not in explained:
                print(f"{name} `{words}`")  # noqa: T201 - a command's output
                unexplained += 1
        for key in (name, module.parent.name, "all"):
            made[key] += len(those)
            left[key] += len(survivors[str(module)])
    for key in sorted(made):
        share = left[key] / max(made[key], 1)
        print(f"{key:24} {made[key]:5} mutants {left[key]:4} survived {share:6.1%}")  # noqa: T201 - the same
    rooms = {module.parent.name for module in mutants}
    return int(unexplained > 0 or any(left[room] >= MOST * made[room] for room in rooms))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
