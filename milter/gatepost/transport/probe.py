"""
What a mail host shows to who knocks: whether it offers STARTTLS, and what its certificate is worth.

This is advice for admins: a probe assures nothing, since whoever is on the way today need not be there tomorrow.
The host is a stranger and may be hostile: only given addresses are connected to, lines, replies and handshake are
bounded, one deadline holds for all, and nothing that the host says is shown but the codes of its replies.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gatepost.transport import trust
from gatepost.transport.resolver import IpAddress

_MOST_ADDRESSES = 4
_MOST_LINE = 4096  # octets; RFC 5321 section 4.5.3.1.5 allows 512
_MOST_LINES = 100
_CODE = 3

# The verify codes of OpenSSL (X509_V_ERR_...) that an admin may want told apart.
_VERDICTS = {9: "not valid yet", 10: "expired", 18: "self-signed", 62: "wrong name", 64: "wrong name"}


@dataclass(frozen=True, slots=True)
class Probe:
    """
    What one mail host showed.

    `certificate` is `verified`, `expired`, `not valid yet`, `self-signed`, `wrong name`, `untrusted`, or empty
    where it came to none; `protocol` and `cipher` are OpenSSL's names. `steps` tell it in plain words.
    """

    host: str
    certificate: str = ""
    protocol: str = ""
    cipher: str = ""
    steps: tuple[str, ...] = ()


class _EndedError(Exception):
    """The host does not go on as SMTP does; the text says how."""


async def probe(
    host: str,
    addresses: Sequence[IpAddress],
    port: int,
    *,
    hello: str,
    seconds: float,
    ca_file: str = "",
) -> Probe:
    """
    Knock at a mail host, at the first of its addresses that answers, within `seconds`.

    `hello` is our own name for EHLO; `ca_file` holds further authorities in PEM. Raises ConfigError if that cannot
    be read, and nothing else.
    """
    context = trust.context(ca_file)
    steps: list[str] = []
    found = Probe(host)
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await _connect(addresses[:_MOST_ADDRESSES], port, seconds, steps)
            try:
                await _ask_for_tls(reader, writer, hello, steps)
                found = await _shake_hands(reader, writer, context, host)
            finally:
                writer.transport.abort()
    except _EndedError as ended:
        steps.append(str(ended))
    except TimeoutError:
        steps.append(f"no complete answer within {seconds:g} s")
    except OSError as error:
        steps.append(f"the connection broke off: {error.strerror or type(error).__name__}")
    return replace(found, steps=(*steps, *found.steps))


async def _connect(
    addresses: Sequence[IpAddress], port: int, seconds: float, steps: list[str]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that answers; each gets the same share of the time."""
    for address in addresses:
        where = f"{address} port {port}"
        try:
            async with asyncio.timeout(seconds / len(addresses)):
                streams = await asyncio.open_connection(str(address), port, limit=_MOST_LINE)
        except TimeoutError:
            steps.append(f"{where} does not answer")
        except OSError as error:
            steps.append(f"{where} cannot be reached: {error.strerror or type(error).__name__}")
        else:
            steps.append(f"connected to {where}")
            return streams
    raise _EndedError(
        "no address to knock at answers" if addresses else "it has no address that may be connected to"
    )


async def _ask_for_tls(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: str, steps: list[str]
) -> None:
    """Go as far as the host's consent to STARTTLS."""
    await _reply(reader, "its greeting", "220")
    writer.write(f"EHLO {hello}\r\n".encode("ascii", "replace"))
    offers = await _reply(reader, "its answer to EHLO", "250")
    if b"STARTTLS" not in {line.upper().strip() for line in offers}:
        writer.write(b"QUIT\r\n")
        raise _EndedError("it does not offer STARTTLS: mail would go in clear")
    writer.write(b"STARTTLS\r\n")
    await _reply(reader, "its answer to STARTTLS", "220")
    steps.append("it offers STARTTLS")


async def _reply(reader: asyncio.StreamReader, what: str, wanted: str) -> list[bytes]:
    """Read one reply of as many lines as it has; gives them without their codes."""
    lines: list[bytes] = []
    while len(lines) < _MOST_LINES:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise _EndedError(f"{what} has a line of more than {_MOST_LINE} octets") from None
        except asyncio.IncompleteReadError:
            raise _EndedError(f"{what} broke off") from None
        code = line[:_CODE]
        if not code.isdigit() or line[_CODE : _CODE + 1] not in b"- \r\n":
            raise _EndedError(f"{what} is no SMTP")
        if code.decode() != wanted:
            raise _EndedError(f"{what} is {code.decode()}, not {wanted}")
        lines.append(line[_CODE + 1 :])
        if line[_CODE : _CODE + 1] != b"-":
            return lines
    raise _EndedError(f"{what} has more than {_MOST_LINES} lines")


async def _shake_hands(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext, host: str
) -> Probe:
    """Begin TLS with SNI and tell what the certificate is worth; ends with QUIT where it is good."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=host)
    try:
        await _exchange(tls, incoming, outgoing, reader, writer)
    except ssl.SSLCertVerificationError as error:
        verdict = _VERDICTS.get(error.verify_code, "untrusted")
        step = f"its certificate is {verdict} ({error.verify_message})"
    except ssl.SSLError as error:
        raise _EndedError(f"TLS failed: {error.reason or 'the connection ended'}") from None
    else:
        verdict = "verified"
        step = f"its certificate is verified: a known authority vouches for {host}"
        tls.write(b"QUIT\r\n")
    finally:
        writer.write(outgoing.read())  # QUIT, or TLS's own complaint
    protocol, cipher = tls.version() or "", (tls.cipher() or ("",))[0]
    spoken = (f"it speaks {protocol} with {cipher}",) if cipher else ()
    return Probe(host, verdict, protocol, cipher, (*spoken, step))


async def _exchange(
    tls: ssl.SSLObject,
    incoming: ssl.MemoryBIO,
    outgoing: ssl.MemoryBIO,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Carry the handshake over the streams, within what OpenSSL takes; raises SSLError where it fails."""
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            octets = await reader.read(_MOST_LINE)
            incoming.write(octets)
            if not octets:
                incoming.write_eof()
        else:
            return
