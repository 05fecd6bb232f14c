"""
A pytest session that runs mutants: it collects the tests once, and learns which of them run which lines.

Every mutant of a function gets a fork, in which that function has the changed code, and the tests that run its
lines, the quickest first.
"""

import gc
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import TypedDict

import pytest

from lab.child import ended_well, in_child
from lab.mutants import Mutant

OPTIONS = (
    "-q",
    "-m",
    "not real and not soak",
    "-p",
    "no:randomly",
    "-p",
    "no:cacheprovider",
    "--hypothesis-profile=mutants",
)
_SLOW = 2.0  # seconds, watched: tests that take longer do not count
_CPU = 10  # seconds that a mutant may take beyond three times what its tests take

_Step = Callable[[FrameType, str, object], "_Step | None"]


class Learned(TypedDict):
    """Each test's seconds, the tests that run a line (`file:line`), and those files of tests that run a file."""

    seconds: dict[str, float]
    lines: dict[str, list[str]]
    files: dict[str, list[str]]


class Outcome(TypedDict):
    """For each module the words of its survivors, and the files of tests that run it, the likeliest first."""

    survivors: dict[str, list[str]]
    files: dict[str, list[str]]


class MutantSession:
    """Runs mutants in the place of tests."""

    def __init__(self, mutants: Mapping[Path, Sequence[Mutant]]) -> None:
        self._mutants = mutants
        self._outcome: Outcome | None = None
        self._failed = False

    def run(self, tests: Iterable[str]) -> Outcome:
        """Run every mutant of a function against these tests."""
        ended = pytest.main([*OPTIONS, *tests], plugins=[self])
        if self._outcome is None:
            raise RuntimeError(f"the tests could not be collected: {ended}")
        return self._outcome

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure."""
        self._failed = self._failed or report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests as they are, then the mutants."""
        learned = in_child(partial(self._learn, session))
        items = {item.nodeid: item for item in session.items}
        functions = _functions(self._mutants)
        survivors: dict[str, list[str]] = {}
        for module, those in self._mutants.items():
            survivors[str(module)] = []
            for mutant in those:
                if mutant.function is None:
                    continue
                names = {name for line in mutant.lines for name in learned["lines"].get(f"{module}:{line}", ())}
                chosen = [items[name] for name in sorted(names, key=learned["seconds"].__getitem__)]
                changing = functions[str(module), *mutant.function]
                limit = _CPU + 3 * sum(learned["seconds"][name] for name in names)
                if ended_well(partial(self._passes, module, mutant, changing, chosen), limit):
                    survivors[str(module)].append(mutant.words)
                    sys.stderr.write(f"{module.stem} {mutant.words}\n")
            sys.stderr.write(f"{module}: {len(survivors[str(module)])} survived\n")
        self._outcome = Outcome(survivors=survivors, files=learned["files"])
        return True

    def _learn(self, session: pytest.Session) -> Learned:
        """Run every test as it is; those that are slow, or fail while they are watched, do not count."""
        seconds: dict[str, float] = {}
        ran: dict[str, set[str]] = {}
        for item in session.items:
            trace = _Trace(frozenset(map(str, self._mutants)))
            started = time.process_time()
            self._failed = False
            with trace:
                self._run(item)
            seconds[item.nodeid] = time.process_time() - started
            if not self._failed and seconds[item.nodeid] <= _SLOW:
                ran[item.nodeid] = trace.lines
        lines: dict[str, list[str]] = defaultdict(list)
        files: dict[str, Counter[str]] = {str(module): Counter() for module in self._mutants}
        for test, its_lines in ran.items():
            for line in its_lines:
                lines[line].append(test)
            for module in {line.rpartition(":")[0] for line in its_lines}:
                files[module][test.partition("::")[0]] += 1
        ordered = {module: [file for file, _ in count.most_common()] for module, count in files.items()}
        return Learned(seconds=seconds, lines=lines, files=ordered)

    def _run(self, item: pytest.Item) -> None:
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)

    def _passes(
        self, module: Path, mutant: Mutant, changing: Iterable[FunctionType], items: Iterable[pytest.Item]
    ) -> bool:
        """Change the functions and run tests; False as soon as one fails."""
        changed = _code_of(mutant, module)
        for function in changing:
            function.__code__ = changed
        for item in items:
            self._run(item)
            if self._failed:
                return False
        return True


class _Trace:
    """Notes the lines of some files that run while it is entered, in all threads begun meanwhile."""

    def __init__(self, files: frozenset[str]) -> None:
        self._files = files
        self.lines: set[str] = set()

    def __enter__(self) -> None:
        threading.settrace(self._enter)
        sys.settrace(self._enter)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)

    def _enter(self, frame: FrameType, _event: str, _value: object) -> "_Step | None":
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, _event: str, _value: object) -> "_Step | None":
        self.lines.add(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        return self._line


def _functions(modules: Iterable[Path]) -> dict[tuple[str, int, str], list[FunctionType]]:
    """Find every loaded function of these modules, by file, first line and name."""
    names = {str(module) for module in modules}
    found: dict[tuple[str, int, str], list[FunctionType]] = defaultdict(list)
    for one in gc.get_objects():
        if type(one) is FunctionType and one.__code__.co_filename in names:
            code = one.__code__
            found[code.co_filename, code.co_firstlineno, code.co_qualname].append(one)
    return found


def _code_of(mutant: Mutant, module: Path) -> CodeType:
    """Give the code of the function that the mutant changes."""
    waiting = [mutant.code(str(module))]
    while waiting:
        one = waiting.pop()
        if (one.co_firstlineno, one.co_qualname) == mutant.function:
            return one
        waiting += [constant for constant in one.co_consts if isinstance(constant, CodeType)]
    raise LookupError(mutant.words)
