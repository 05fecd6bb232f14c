"""
One batch of mail through one variant: sent, received, counted, looked at, and what it took.
"""

import subprocess
import sys
from dataclasses import dataclass

from lab.sink import Received

from bench.mail import is_sample, message
from bench.processes import cpu_milliseconds, family
from bench.receiver import Receiver
from bench.rig import Variant

SESSIONS = 10
_PATIENCE = 300.0  # seconds for one batch


@dataclass(frozen=True, slots=True)
class Batch:
    """What is sent: the name that its Message-IDs begin with, how many messages, and how large, in octets."""

    name: str
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What a batch took: messages a second, and CPU of the filter in milliseconds a message."""

    rate: float
    cpu: float


def send(batch: Batch, variant: Variant, receiver: Receiver) -> Taken:
    """Send a batch, wait until all has come in, and check it; raises RuntimeError or TimeoutError."""
    receiver.forget()
    before = receiver.count()
    threads = variant.gatepost.threads() if variant.gatepost else 0
    sender = _sender(batch, variant)
    assert sender.stdout is not None  # noqa: S101 - it was opened with a pipe
    spent = -cpu_milliseconds(family(variant.roots))
    started = float(sender.stdout.readline() or "nan")
    ended = receiver.wait_for(before + batch.count, _PATIENCE)
    sender.wait(_PATIENCE)
    if variant.gatepost:
        variant.gatepost.wait_for_events(batch.name, batch.count)
    spent += cpu_milliseconds(family(variant.roots))
    variant.postfix.wait_queue_empty()
    if receiver.count() != before + batch.count:
        raise RuntimeError(f"{variant.name}: {receiver.count() - before} received, {batch.count} sent")
    _look(batch, variant, receiver, threads)
    return Taken(batch.count / (ended - started), spent / batch.count)


def _sender(batch: Batch, variant: Variant) -> subprocess.Popen[str]:
    port = variant.postfix.inside_port
    words = (port, batch.name, batch.count, batch.size, variant.domain, variant.sample_domain, SESSIONS)
    command = [sys.executable, "-m", "bench.sender", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _look(batch: Batch, variant: Variant, receiver: Receiver, threads_before: int) -> None:
    """Check the samples against what was sent, and that each encrypted message left its thread row."""
    samples = receiver.samples
    expected = {number for number in range(batch.count) if is_sample(number, batch.count)}
    seen = {int(one.values("Message-ID")[0].partition("@")[0].rpartition(".")[2]) for one in samples}
    if seen != expected or len(samples) != len(expected):
        raise RuntimeError(f"{variant.name}: {len(samples)} of {len(expected)} samples came, or others")
    for one in samples:
        _compare(batch, variant, one)
    if variant.gatepost and variant.encrypted:
        written = variant.gatepost.threads() - threads_before
        if written != batch.count:
            raise RuntimeError(f"{written} thread rows for {batch.count} encrypted messages")


def _compare(batch: Batch, variant: Variant, sample: Received) -> None:
    number = int(sample.values("Message-ID")[0].partition("@")[0].rpartition(".")[2])
    data = sample.data
    if variant.gatepost and variant.encrypted:
        if variant.encrypted.media not in sample.header:
            raise RuntimeError(f"{variant.name}: sample {number} is not encrypted")
        data = variant.gatepost.opened(data, variant.sample_domain)
    if variant.name == "opendkim" and not sample.values("DKIM-Signature"):
        raise RuntimeError(f"sample {number} is not signed")
    sent = message(batch.name, number, batch.size, variant.sample_domain).partition(b"\r\n\r\n")[2]
    if data.partition(b"\r\n\r\n")[2] != sent:
        raise RuntimeError(f"{variant.name}: sample {number} is not what was sent")
