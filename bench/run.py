"""
The bench: Gatepost beside Postfix alone, a milter that does nothing, and OpenDKIM. Needs root, as Postfix does.

Batches alternate between the variants, in another order each round, so that a busy host disturbs all alike.
Compare ratios within one table; numbers of different runs or hosts say nothing about each other.

    python -m bench.run [--rounds N] [--quick] [--sizes 4096,1048576] [--only noop,gatepost-pass] [--messages N]
        [--json FILE]
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.place import short_folder

from bench.batch import Batch, Taken, send
from bench.processes import family, peak_memory
from bench.receiver import Receiver
from bench.report import Line, Table, as_json, show
from bench.rig import NAMES, Variant, standing

_OCTETS_A_BATCH = 160 << 20
_MOST_MESSAGES = 1500
_QUICK = 4  # so many times fewer messages


def main() -> None:
    """Measure and print."""
    options = _options()
    tables = [_measure(size, options) for size in options.sizes]
    if options.json:
        options.json.write_text(as_json(tables))


def _measure(size: int, options: argparse.Namespace) -> Table:
    """Measure one message size, with daemons freshly started, so that their peak memory belongs to it."""
    count = options.messages or min(_MOST_MESSAGES, _OCTETS_A_BATCH // size) // (_QUICK if options.quick else 1)
    taken: dict[str, list[Taken]] = {name: [] for name in options.only}
    with (
        short_folder("gpb-") as folder,
        Receiver() as receiver,
        standing(folder, receiver, options.only) as variants,
    ):
        for variant in variants:
            send(Batch(f"warm-{variant.name}", max(40, count // 5), size), variant, receiver)
        for number in range(options.rounds):
            turn = number % len(variants)
            for variant in variants[turn:] + variants[:turn]:
                batch = Batch(f"round{number}-{variant.name}", count, size)
                taken[variant.name].append(send(batch, variant, receiver))
                _tell(number, variant, taken[variant.name][-1])
        table = Table(size, count, tuple(_line(variant, taken[variant.name]) for variant in variants))
    show(table)
    return table


def _line(variant: Variant, taken: Sequence[Taken]) -> Line:
    return Line(variant.name, tuple(taken), peak_memory(family(variant.roots)) if variant.roots else 0)


def _tell(number: int, variant: Variant, taken: Taken) -> None:
    load = os.getloadavg()[0]
    text = f"round {number + 1}: {variant.name}: {taken.rate:.0f} msg/s, {taken.cpu:.2f} ms CPU (load {load:.1f})"
    print(text, file=sys.stderr)  # noqa: T201 - progress


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Messages a second and CPU, side by side.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="fewer messages, two rounds")
    parser.add_argument("--sizes", type=_numbers, default=[4096, 1 << 20], help="octets, comma-separated")
    parser.add_argument("--only", type=_names, default=list(NAMES), help=f"of {', '.join(NAMES)}")
    parser.add_argument("--messages", type=int, help="in each batch; more rounds of fewer suit a busy host")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    if options.quick:
        options.rounds = min(options.rounds, 2)
    return options


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(NAMES):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(NAMES)}")
    return names


if __name__ == "__main__":
    main()
