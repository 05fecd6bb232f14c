"""
Fuzzing, guided by coverage, of the parsers in lab.fuzz_targets; and the golden files that keep what was found.

    python -m lab.fuzz run TARGET --seconds 60 --folder DIR    status 1, and its octets, where an input broke it
    python -m lab.fuzz keep TARGET [FILE...]                   add inputs to the golden file, and write it anew

A golden file, tests/golden/fuzz/TARGET.jsonl, has a line for each input: its octets as Latin-1, and what came of
them. It is also where a run starts from.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "fuzz"
_LONGEST = 1000  # octets of an input
_GRACE = 60  # seconds beyond a run's own
_INSTRUMENTED = [
    "gatepost.transport",
    "gatepost.mta.postfix.log_line",
    "gatepost.crypto.ber",
    "gatepost.crypto.cms",
    "gatepost.crypto.content_key",
    "gatepost.crypto.opened_envelope",
    "gatepost.crypto.signed_data",
    "lab.fuzz_targets",
    "lab.fuzz_cms",
]


def golden(target: str) -> Iterator[tuple[bytes, str]]:
    """Give every kept input of a target, and what came of it."""
    file = GOLDEN / f"{target}.jsonl"
    for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        one = json.loads(text)
        yield one["input"].encode("latin-1"), one["outcome"]


def keep(target: str, inputs: Sequence[bytes]) -> None:
    """Add inputs to a target's golden file, and write anew what comes of each."""
    from lab.fuzz_targets import TARGETS  # noqa: PLC0415 - a run must import it in its own way

    known = {octets: TARGETS[target](octets) for octets in (*dict(golden(target)), *inputs)}
    lines = [
        json.dumps({"input": octets.decode("latin-1"), "outcome": outcome})
        for octets, outcome in sorted(known.items())
    ]
    GOLDEN.mkdir(parents=True, exist_ok=True)
    (GOLDEN / f"{target}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(target: str, seconds: int, folder: Path) -> bytes | None:
    """
    Fuzz a target in a process of its own; gives the input that broke it, or None.

    The inputs that reached new code stay in the folder's `corpus`.
    """
    corpus, finds = folder / "corpus", folder / "finds"
    for needed in (corpus, finds):
        shutil.rmtree(needed, ignore_errors=True)
        needed.mkdir(parents=True)
    for number, (octets, _) in enumerate(golden(target)):
        (corpus / f"golden-{number}").write_bytes(octets)
    options = [f"-max_total_time={seconds}", f"-max_len={_LONGEST}", f"-artifact_prefix={finds}/", "-verbosity=0"]
    command = [sys.executable, "-m", "lab.fuzz", "inside", target, *options, str(corpus)]
    ended = subprocess.run(command, timeout=seconds + _GRACE, check=False, stdin=subprocess.DEVNULL)
    found = sorted(finds.iterdir())
    if not found and ended.returncode:
        raise RuntimeError(f"fuzzing {target} ended with status {ended.returncode} and no find")
    return found[0].read_bytes() if found else None


def _inside(target: str, options: Sequence[str]) -> None:
    """Be the process that is fuzzed; never returns."""
    import atheris  # noqa: PLC0415 - only here, as it changes how modules are loaded
    import cryptography.hazmat.primitives.serialization  # noqa: PLC0415, F401 - the hook breaks on its patterns

    atheris.enabled_hooks.add("RegEx")
    with atheris.instrument_imports(include=_INSTRUMENTED):
        from lab.fuzz_targets import TARGETS  # noqa: PLC0415 - under instrumentation

    def once(octets: bytes) -> None:
        TARGETS[target](octets)

    atheris.Setup([sys.argv[0], *options], once)
    atheris.Fuzz()


def main() -> int:
    """Run from the command line."""
    if sys.argv[1:2] == ["inside"]:
        _inside(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(prog="python -m lab.fuzz", description="Fuzz parsers, keep what was found.")
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("target")
    running.add_argument("--seconds", type=int, default=60)
    running.add_argument("--folder", type=Path, required=True)
    keeping = commands.add_parser("keep")
    keeping.add_argument("target")
    keeping.add_argument("files", type=Path, nargs="*")
    given = parser.parse_args()
    if given.command == "keep":
        keep(given.target, [file.read_bytes() for file in given.files])
        return 0
    found = run(given.target, given.seconds, given.folder)
    if found is not None:
        print(f"{given.target} breaks on {found!r}")  # noqa: T201 - the answer
    return int(found is not None)


if __name__ == "__main__":
    sys.exit(main())
