"""
How many look-ups a second the policy service answers, beside postfix-mta-sts-resolver in the same run.

Run by `python -m bench.policy`. Rounds alternate between the services and change their order; a ratio is the
median of the ratios within each round. One at a time: the next question goes out when the answer is there. 100 in
flight: a hundred questions on one connection, then their hundred answers. Each domain was asked for just before.

Then 500 connections to ours ask at moments that do not depend on its answers, all from its cache; the latency
counts from the moment at which a question was due, and the target is for the median of the rounds' 99th
percentiles: what stops the whole host for a moment spoils one round. Ends with status 1 if a target is missed.

On a host that is busy with other things, run it as `chrt -f 10 python -m bench.policy`.
"""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from statistics import median

from lab.place import short_folder

from bench.policy_client import ask_all, latencies, rate
from bench.policy_services import NAMES, Service, standing

_CONNECTIONS = 500
_LATENCY_SECONDS = 2.0
_LIMIT = 5e-3  # seconds, of the 99th percentile
_TARGETS = {
    ("memory", 1): 1.0,
    ("memory", 100): 1.0,
    ("sqlite", 1): 5.0,
    ("sqlite", 100): 10.0,
}
Rounds = dict[tuple[str, int, str], list[float]]


def main() -> None:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description="Look-ups a second of the policy service, and of another.")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--seconds", type=float, default=0.4, metavar="S", help="of each measuring")
    parser.add_argument(
        "--rate", type=float, default=5000, metavar="N", help="look-ups a second on 500 connections"
    )
    chosen = parser.parse_args()
    with short_folder() as folder, standing(folder) as services:
        rounds = _measured(services, chosen.rounds, chosen.seconds)
        reached = [_judged(rounds, kind) for kind in ("known", "unknown")]
        gc.collect()
        gc.freeze()  # our own pauses are not the service's
        p50, p99 = _percentiles(services[0], chosen.rounds, chosen.rate)
    reached.append(median(p99) < _LIMIT)
    _tell(f"{_CONNECTIONS} connections, {chosen.rate:.0f} look-ups a second, ms: p50 {_spread(p50, 2, 1e3)}")
    _tell(f"  {_word(reached[-1])}  p99 {_spread(p99, 2, 1e3)}; to reach: {_LIMIT * 1e3:g}")
    _tell(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    sys.exit(not all(reached))


def _measured(services: Sequence[Service], count: int, seconds: float) -> Rounds:
    rounds: Rounds = {}
    for number in range(count):
        for service in services if number % 2 else reversed(services):
            for kind, questions in (("known", service.known()), ("unknown", service.unknown())):
                ask_all(service.socket, questions)
                for in_flight in (1, 100):
                    taken = rate(service.socket, questions, in_flight, seconds)
                    rounds.setdefault((service.name, in_flight, kind), []).append(taken)
    return rounds


def _judged(rounds: Rounds, kind: str) -> bool:
    """Print what was measured for one kind of domains; tell whether each target is reached."""
    _tell("domains with a policy, look-ups a second:" if kind == "known" else "domains that do not exist:")
    for name in NAMES:
        _tell(
            f"  {name:9} {_spread(rounds[name, 1, kind])} one at a time, {_spread(rounds[name, 100, kind])} of 100"
        )
    reached = []
    for (name, in_flight), wanted in _TARGETS.items():
        ours, theirs = rounds["gatepost", in_flight, kind], rounds[name, in_flight, kind]
        ratio = median(one / other for one, other in zip(ours, theirs, strict=True))
        reached.append(ratio > wanted)
        what = "one at a time" if in_flight == 1 else f"{in_flight} in flight"
        _tell(f"  {_word(reached[-1])}  {ratio:.1f} times its {name} cache, {what}; to reach: {wanted:g}")
    return all(reached)


def _percentiles(service: Service, rounds: int, a_second: float) -> tuple[list[float], list[float]]:
    """Give the median and the 99th percentile of each round."""
    p50, p99 = [], []
    for _ in range(rounds):
        ask_all(service.socket, service.known())
        took = sorted(latencies(service.socket, service.known(), _CONNECTIONS, a_second, _LATENCY_SECONDS))
        p50.append(took[len(took) // 2])
        p99.append(took[len(took) * 99 // 100])
    return p50, p99


def _spread(values: Sequence[float], digits: int = 0, unit: float = 1) -> str:
    low, middle, high = (f"{value * unit:.{digits}f}" for value in (min(values), median(values), max(values)))
    return f"{middle} ({low}-{high})"


def _word(reached: bool) -> str:  # noqa: FBT001 - the one thing that it is about
    return "reached" if reached else "MISSED "


def _tell(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - what this program is for


if __name__ == "__main__":
    main()
