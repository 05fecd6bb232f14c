"""
The messages that are sent: MIME that does not compress, every body different, made again from its number.

A message's octets follow from batch, number and size, so that what arrives can be compared without keeping it.
"""

import base64
import random

INSIDE = "hosp.test"
SAMPLES = 20  # messages of a batch that go to the receiver that keeps them
_RECIPIENTS = 100


def is_sample(number: int, count: int) -> bool:
    """Tell whether this message of `count` is one of those that are looked at."""
    return number % max(1, count // SAMPLES) == 0 and number // max(1, count // SAMPLES) < SAMPLES


def recipient(number: int, domain: str) -> str:
    """Give the recipient of a message: one of a hundred at the domain."""
    return f"user{number % _RECIPIENTS}@{domain}"


def body(batch: str, number: int, size: int) -> bytes:
    """Give the body: Base64 of random octets, `size` octets long or a little less."""
    random_octets = random.Random(f"{batch}.{number}").randbytes(size * 57 // 78)  # noqa: S311 - no secret
    return base64.encodebytes(random_octets).replace(b"\n", b"\r\n")


def message(batch: str, number: int, size: int, domain: str) -> bytes:
    """Give a whole message, about `size` octets long, lines ended by CRLF."""
    header = (
        f"From: Ann Archer <ann@{INSIDE}>\r\n"
        f"To: <{recipient(number, domain)}>\r\n"
        f"Subject: Results of your visit, number {number}\r\n"
        "Date: Mon, 05 Oct 2026 10:00:00 +0000\r\n"
        f"Message-ID: <{batch}.{number}@{INSIDE}>\r\n"
        "MIME-Version: 1.0\r\n"
        'Content-Type: application/octet-stream; name="results.bin"\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        "\r\n"
    ).encode()
    return header + body(batch, number, size - len(header))
